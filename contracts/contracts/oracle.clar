;; oracle: signed public price rounds.
;;
;; A round needs two keys: the oracle's signature and a backend sender. Rounds inform (is a quote still fair,
;; does a settlement receipt agree with what everybody saw); they never settle, so nobody can shop among them.

(define-constant ERR_NOT_BACKEND u2001)
(define-constant ERR_UNKNOWN_FEED u2002)
(define-constant ERR_ZERO_PRICE u2003)
(define-constant ERR_ROUND_FROM_FUTURE u2004)
(define-constant ERR_ROUND_EXISTS u2005)
(define-constant ERR_INVALID_SIGNATURE u2006)
(define-constant ERR_JUMP_TOO_LARGE u2007)
(define-constant ERR_NO_PRICE u2008)
(define-constant ERR_STALE_PRICE u2009)
(define-constant ERR_PRICE_MOVED u2010)
(define-constant ERR_UNKNOWN_ROUND u2011)
(define-constant ERR_ROUND_TOO_FAR u2012)
(define-constant ERR_ROUND_DISAGREES u2013)

(define-constant BPS u10000)

(define-map rounds { feed: (string-ascii 8), round: uint }
  { price-e8: uint, confidence-e8: uint, observed-at: uint, burn-height: uint })

;; The newest round of a feed, the burn height at which it was published, and the anchor that the jump bound is
;; measured from during that height.
(define-map latest (string-ascii 8) { round: uint, published-at: uint, anchor: uint })

;; Burn height at which a backend principal last published a new latest round, per feed.
(define-map heard-from-backend (string-ascii 8) uint)
(define-constant DEPLOYED_AT burn-block-height)

;; --- Reading

(define-read-only (get-round (feed (string-ascii 8)) (round uint))
  (match (map-get? rounds { feed: feed, round: round })
    found (some (merge found { feed: feed, round: round }))
    none))

(define-read-only (get-latest-price (feed (string-ascii 8)))
  (match (map-get? latest feed) newest (get-round feed (get round newest)) none))

;; The newest price if it is at most `oracle.max-age-blocks` burn blocks old.
(define-read-only (get-fresh-price (feed (string-ascii 8)))
  (let ((price (unwrap! (get-latest-price feed) (err ERR_NO_PRICE)))
        (max-age (try! (contract-call? .parameter get-parameter "oracle.max-age-blocks"))))
    (asserts! (<= burn-block-height (+ (get burn-height price) max-age)) (err ERR_STALE_PRICE))
    (ok (get price-e8 price))))

;; The fresh price for a quote that was made at the price `quoted`. A BTC price may only not have fallen too far:
;; a rise is in the pool's favour. An STX price must be near on both sides, since the collateral follows it.
(define-read-only (get-price-for-quote (feed (string-ascii 8)) (quoted uint))
  (let ((price (try! (get-fresh-price feed)))
        (is-btc (is-eq feed "BTC/USD"))
        (bound (try! (contract-call? .parameter get-parameter
          (if is-btc "creation.max-price-move-bps" "creation.max-stx-move-bps")))))
    (asserts! (and (>= (* price BPS) (* quoted (- BPS bound)))
                   (or is-btc (<= (* price BPS) (* quoted (+ BPS bound)))))
      (err ERR_PRICE_MOVED))
    (ok price)))

;; That a published round lies near a receipt in height and price: the second power beside the receipt's key.
(define-read-only (assert-round-agrees (feed (string-ascii 8)) (round uint) (burn-height uint) (price-e8 uint))
  (let ((found (unwrap! (map-get? rounds { feed: feed, round: round }) (err ERR_UNKNOWN_ROUND)))
        (max-blocks (try! (contract-call? .parameter get-parameter "settlement.round-distance-blocks")))
        (tolerance (try! (contract-call? .parameter get-parameter "settlement.round-tolerance-bps"))))
    (asserts! (<= (distance burn-height (get burn-height found)) max-blocks) (err ERR_ROUND_TOO_FAR))
    (ok (asserts! (<= (* (distance price-e8 (get price-e8 found)) BPS) (* (get price-e8 found) tolerance))
      (err ERR_ROUND_DISAGREES)))))

;; --- Publishing

;; Stores an unseen round, also an older one; only a newer one becomes the latest. Answers whether it did.
(define-public (publish-price
    (message {
      feed: (string-ascii 8), round: uint, price-e8: uint, confidence-e8: uint, observed-at: uint,
      burn-height: uint })
    (signature (buff 65)))
  (let ((feed (get feed message))
        (round (get round message))
        (from-backend (contract-call? .parameter is-backend-principal contract-caller))
        (newest (get-latest-price feed)))
    (asserts! (or (is-eq feed "BTC/USD") (is-eq feed "STX/USD")) (err ERR_UNKNOWN_FEED))
    (asserts! (or from-backend (try! (may-anyone-relay feed (get burn-height message)))) (err ERR_NOT_BACKEND))
    (asserts! (> (get price-e8 message) u0) (err ERR_ZERO_PRICE))
    (asserts! (<= (get burn-height message) burn-block-height) (err ERR_ROUND_FROM_FUTURE))
    (asserts! (is-none (map-get? rounds { feed: feed, round: round })) (err ERR_ROUND_EXISTS))
    (asserts! (contract-call? .parameter is-oracle-signature "bithedge-price-round"
        (sha256 (unwrap-panic (to-consensus-buff? message))) signature)
      (err ERR_INVALID_SIGNATURE))
    (try! (assert-no-jump feed (get price-e8 message) (get burn-height message)))
    (map-insert rounds { feed: feed, round: round } {
      price-e8: (get price-e8 message), confidence-e8: (get confidence-e8 message),
      observed-at: (get observed-at message), burn-height: (get burn-height message) })
    (let ((becomes-latest (match newest old (try! (is-newer old message)) true)))
      (if becomes-latest
        (map-set latest feed {
          round: round, published-at: burn-block-height, anchor: (default-to round (anchor-of feed)) })
        true)
      ;; Filling in old rounds is no sign of life: it must not keep others from relaying new ones.
      (if (and from-backend becomes-latest) (map-set heard-from-backend feed burn-block-height) true)
      (print (merge message { topic: "price-published", latest: becomes-latest }))
      (ok becomes-latest))))

;; --- Private

;; After a long silence of the backend anyone may relay rounds that the oracle has signed, of the time since the
;; silence began: the prices of earlier heights needed two keys and stay as they are.
(define-private (may-anyone-relay (feed (string-ascii 8)) (height uint))
  (let ((heard (default-to DEPLOYED_AT (map-get? heard-from-backend feed)))
        (silence (try! (contract-call? .parameter get-parameter "oracle.silence-blocks"))))
    (ok (and (> burn-block-height (+ heard silence)) (>= height heard)))))

;; Newer by number, height and time. A height later by the whole silence suffices alone: else one absurd number or
;; time, signed with a key since removed, would end the feed for good.
(define-private (is-newer
    (old {
      feed: (string-ascii 8), round: uint, price-e8: uint, confidence-e8: uint, observed-at: uint,
      burn-height: uint })
    (new {
      feed: (string-ascii 8), round: uint, price-e8: uint, confidence-e8: uint, observed-at: uint,
      burn-height: uint }))
  (ok (or (and (> (get round new) (get round old))
               (>= (get burn-height new) (get burn-height old))
               (> (get observed-at new) (get observed-at old)))
          (> (get burn-height new)
             (+ (get burn-height old) (try! (contract-call? .parameter get-parameter "oracle.silence-blocks")))))))

;; The round that a price is measured against: the latest that was published at an earlier burn height. During one
;; burn block it stands still, so the bound widens with time, neither with the number of calls nor with the heights
;; that the rounds of these calls carry. The very first round is its own anchor.
(define-private (anchor-of (feed (string-ascii 8)))
  (match (map-get? latest feed)
    newest (some (if (is-eq burn-block-height (get published-at newest)) (get anchor newest) (get round newest)))
    none))

;; Once the bound has reached the whole price it excludes nothing: a price far too low could otherwise never be
;; left again, since what bounds the way up is a part of that price.
(define-private (assert-no-jump (feed (string-ascii 8)) (price uint) (height uint))
  (match (anchor-of feed)
    round
      (let ((anchor (unwrap! (map-get? rounds { feed: feed, round: round }) (err ERR_UNKNOWN_ROUND)))
            (base (try! (contract-call? .parameter get-parameter "oracle.jump-base-bps")))
            (per-block (try! (contract-call? .parameter get-parameter "oracle.jump-per-block-bps")))
            (bound (+ base (* per-block (distance height (get burn-height anchor))))))
        (ok (asserts! (or (>= bound BPS)
                          (<= (* (distance price (get price-e8 anchor)) BPS) (* (get price-e8 anchor) bound)))
              (err ERR_JUMP_TOO_LARGE))))
    (ok true)))

(define-private (distance (a uint) (b uint))
  (if (> a b) (- a b) (- b a)))
