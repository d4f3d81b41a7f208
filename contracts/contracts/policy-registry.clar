;; policy-registry: every policy, from the payment of its premium to its end.
;;
;; A policy's largest payout is locked in the vault at creation and is paid or released, as a whole and once, at
;; the end. Prices come from receipts that the oracle signs for one policy (activation) or one height (expiry) and
;; never suffice alone: an activation also needs a published round that agrees, an expiry a backend sender.

(define-constant ERR_PAUSED u3001)
(define-constant ERR_NOT_HOLDER u3002)
(define-constant ERR_UNKNOWN_TOKEN u3003)
(define-constant ERR_ZERO_AMOUNT u3004)
(define-constant ERR_POLICY_ID_USED u3005)
(define-constant ERR_QUOTE_FROM_FUTURE u3006)
(define-constant ERR_QUOTE_EXPIRED u3007)
(define-constant ERR_QUOTE_VALID_TOO_LONG u3008)
(define-constant ERR_INVALID_QUOTE_SIGNATURE u3009)
(define-constant ERR_AFTER_EXPIRATION u3010)
(define-constant ERR_FLOOR_ABOVE_PRICE u3011)
(define-constant ERR_PREMIUM_TOO_LOW u3012)
(define-constant ERR_UNKNOWN_POLICY u3013)
(define-constant ERR_NOT_ACTIVE u3014)
(define-constant ERR_NOT_AUTHORIZED u3015)
(define-constant ERR_WRONG_POLICY u3016)
(define-constant ERR_ZERO_ACTIVATION u3017)
(define-constant ERR_RECEIPT_HEIGHT u3018)
(define-constant ERR_RECEIPT_FROM_FUTURE u3019)
(define-constant ERR_ZERO_PRICE u3020)
(define-constant ERR_INVALID_RECEIPT_SIGNATURE u3021)
(define-constant ERR_OUT_OF_THE_MONEY u3022)
(define-constant ERR_OTHER_EXPIRATION u3023)
(define-constant ERR_NOT_DUE u3024)

(define-constant TOKEN_STX u1)
(define-constant TOKEN_SBTC u2)
(define-constant ACTIVE u0)
(define-constant SETTLED u1)
(define-constant EXPIRED u2)
(define-constant BPS u10000)
;; Never passes for a receipt from outside, whose prices must be above zero.
(define-constant NO_RECEIPT { expiration-burn-height: u0, btc-price-e8: u0, stx-price-e8: u0, observed-at: u0 })
;; sats x USD_e8 / USD_e8-per-STX has 8 decimals, uSTX has 6.
(define-constant SATS_PER_USTX_SCALE u100)

(define-data-var policy-counter uint u0)
(define-map ids-by-policy-id (buff 16) uint)
(define-map activation-requests uint uint)
(define-map policies uint {
  policy-id: (buff 16), holder: principal, tier: uint, token: uint, amount-sats: uint, strike-price-e8: uint,
  floor-price-e8: uint, btc-price-e8: uint, stx-price-e8: uint, premium: uint, fee: uint, auto-settle: bool,
  quote-burn-height: uint, quote-expiry-burn-height: uint, expiration-burn-height: uint,
  max-payout: uint, created-burn-height: uint, grace-blocks: uint, settlement-pause-counter: uint,
  status: uint, payout: uint, settlement-btc-price-e8: uint, settlement-stx-price-e8: uint,
  settlement-burn-height: uint })

;; --- Reading

(define-read-only (get-policy (id uint)) (map-get? policies id))
(define-read-only (get-policies (ids (list 200 uint))) (map get-policy ids))
(define-read-only (get-policy-counter) (var-get policy-counter))
(define-read-only (get-policy-by-policy-id (policy-id (buff 16)))
  (match (map-get? ids-by-policy-id policy-id) id (map-get? policies id) none))

;; The collateral: the payout at the floor, for STX at the given STX price less the haircut. Rounded down.
(define-read-only (max-payout-of
    (token uint) (amount-sats uint) (strike uint) (floor uint) (stx-price-e8 uint) (haircut-bps uint))
  (let ((gain (* amount-sats (- strike floor))))
    (if (is-eq token TOKEN_SBTC)
      (/ gain floor)
      (/ (* gain BPS) (* SATS_PER_USTX_SCALE stx-price-e8 (- BPS haircut-bps))))))

;; What a policy pays at these prices, rounded down; u0 out of the money. Below the floor it grows no further.
(define-read-only (payout-of
    (token uint) (amount-sats uint) (strike uint) (floor uint) (max-payout uint) (btc-price-e8 uint)
    (stx-price-e8 uint))
  (let ((price (if (> btc-price-e8 floor) btc-price-e8 floor)))
    (if (>= price strike)
      u0
      (if (is-eq token TOKEN_SBTC)
        (/ (* amount-sats (- strike price)) price)
        (let ((paid (/ (* amount-sats (- strike price)) (* SATS_PER_USTX_SCALE stx-price-e8))))
          (if (< paid max-payout) paid max-payout))))))

;; --- Creation

;; The holder pays a signed quote. The quote is trusted for what only the backend can know (a fair premium, a
;; reserved capacity); whatever can be checked here is checked again.
(define-public (create-policy-entry
    (quote {
      policy-id: (buff 16), holder: principal, tier: uint, token: uint, amount-sats: uint, strike-price-e8: uint,
      floor-price-e8: uint, btc-price-e8: uint, stx-price-e8: uint, premium: uint, fee: uint, auto-settle: bool,
      quote-burn-height: uint, quote-expiry-burn-height: uint, expiration-burn-height: uint })
    (signature (buff 65)))
  (let ((token (get token quote))
        (id (+ (var-get policy-counter) u1)))
    (asserts! (not (contract-call? .parameter is-paused "creation")) (err ERR_PAUSED))
    (asserts! (and (is-eq tx-sender (get holder quote)) (is-eq contract-caller (get holder quote)))
      (err ERR_NOT_HOLDER))
    (asserts! (or (is-eq token TOKEN_STX) (is-eq token TOKEN_SBTC)) (err ERR_UNKNOWN_TOKEN))
    (asserts! (> (get amount-sats quote) u0) (err ERR_ZERO_AMOUNT))
    (asserts! (map-insert ids-by-policy-id (get policy-id quote) id) (err ERR_POLICY_ID_USED))
    (try! (assert-in-time (get quote-burn-height quote) (get quote-expiry-burn-height quote)))
    (asserts! (contract-call? .parameter is-backend-signature "bithedge-quote"
        (sha256 (unwrap-panic (to-consensus-buff? quote))) signature)
      (err ERR_INVALID_QUOTE_SIGNATURE))
    (let ((max-payout (try! (assert-terms quote)))
          (entry (merge quote {
            max-payout: max-payout, created-burn-height: burn-block-height,
            grace-blocks: (try! (contract-call? .parameter get-parameter "expiry.grace-blocks")),
            settlement-pause-counter: (contract-call? .parameter get-settlement-pause-counter),
            status: ACTIVE, payout: u0, settlement-btc-price-e8: u0, settlement-stx-price-e8: u0,
            settlement-burn-height: u0 })))
      (try! (contract-call? .liquidity-pool-vault lock-collateral-aggregate
        token (get premium quote) (get fee quote) max-payout))
      (var-set policy-counter id)
      (map-insert policies id entry)
      (print (merge entry { topic: "policy-created", id: id }))
      (ok id))))

(define-private (assert-in-time (from uint) (until uint))
  (begin
    (asserts! (<= from burn-block-height) (err ERR_QUOTE_FROM_FUTURE))
    (asserts! (<= burn-block-height until) (err ERR_QUOTE_EXPIRED))
    (ok (asserts! (<= until (+ from (try! (contract-call? .parameter get-parameter "quote.valid-blocks"))))
      (err ERR_QUOTE_VALID_TOO_LONG)))))

;; The terms against the tier's bounds and the published prices; answers the largest payout. The duration counts
;; from the quote, whose age is bounded, so that a quote at a bound can be paid as long as any other.
(define-private (assert-terms
    (quote {
      policy-id: (buff 16), holder: principal, tier: uint, token: uint, amount-sats: uint, strike-price-e8: uint,
      floor-price-e8: uint, btc-price-e8: uint, stx-price-e8: uint, premium: uint, fee: uint, auto-settle: bool,
      quote-burn-height: uint, quote-expiry-burn-height: uint, expiration-burn-height: uint }))
  (let ((token (get token quote))
        (strike (get strike-price-e8 quote))
        (floor (get floor-price-e8 quote))
        (btc-price (try! (contract-call? .oracle get-price-for-quote "BTC/USD" (get btc-price-e8 quote))))
        (stx-price (if (is-eq token TOKEN_SBTC)
          u0
          (try! (contract-call? .oracle get-price-for-quote "STX/USD" (get stx-price-e8 quote)))))
        (haircut (try! (contract-call? .parameter assert-within-tier (get tier quote) strike floor btc-price
          (get quote-burn-height quote) (get expiration-burn-height quote)))))
    (asserts! (> (get expiration-burn-height quote) burn-block-height) (err ERR_AFTER_EXPIRATION))
    (asserts! (< floor btc-price) (err ERR_FLOOR_ABOVE_PRICE))
    (let ((max-payout (max-payout-of token (get amount-sats quote) strike floor (get stx-price-e8 quote) haircut)))
      (asserts! (> max-payout u0) (err ERR_ZERO_AMOUNT))
      ;; Compared without dividing, so nothing is lost to rounding.
      (asserts! (>= (* (get premium quote) BPS)
          (+ (* (payout-of token (get amount-sats quote) strike floor max-payout btc-price stx-price)
                (- BPS (try! (contract-call? .parameter get-parameter "creation.margin-bps"))))
             (* max-payout (try! (contract-call? .parameter get-parameter "creation.min-rate-bps")))))
        (err ERR_PREMIUM_TOO_LOW))
      (ok max-payout))))

;; --- Settlement by activation

;; For holders whom the backend does not answer: the oracle reads the request here and signs a receipt.
(define-public (request-activation (id uint))
  (let ((entry (unwrap! (map-get? policies id) (err ERR_UNKNOWN_POLICY)))
        (request (+ u1 (default-to u0 (map-get? activation-requests id)))))
    (asserts! (is-eq contract-caller (get holder entry)) (err ERR_NOT_AUTHORIZED))
    (asserts! (is-eq (get status entry) ACTIVE) (err ERR_NOT_ACTIVE))
    (asserts! (<= burn-block-height (get expiration-burn-height entry)) (err ERR_AFTER_EXPIRATION))
    (map-set activation-requests id request)
    (print { topic: "activation-requested", id: id, policy-id: (get policy-id entry),
             holder: (get holder entry), request: request, burn-height: burn-block-height })
    (ok request)))

;; Pays an active policy on a receipt that the oracle signed for this policy alone. The receipt's height, not the
;; height of this call, decides whether the activation was in time.
(define-public (settle-policy
    (id uint)
    (receipt {
      policy-id: (buff 16), activation: uint, btc-price-e8: uint, stx-price-e8: uint, observed-at: uint,
      burn-height: uint })
    (signature (buff 65)) (btc-round uint) (stx-round uint))
  (let ((entry (unwrap! (map-get? policies id) (err ERR_UNKNOWN_POLICY)))
        (height (get burn-height receipt)))
    (asserts! (not (contract-call? .parameter is-paused "settlement")) (err ERR_PAUSED))
    (asserts! (is-eq (get status entry) ACTIVE) (err ERR_NOT_ACTIVE))
    (asserts! (or (is-eq contract-caller (get holder entry))
                  (contract-call? .parameter is-backend-principal contract-caller))
      (err ERR_NOT_AUTHORIZED))
    (asserts! (is-eq (get policy-id receipt) (get policy-id entry)) (err ERR_WRONG_POLICY))
    ;; Zero is what events say of a settlement at expiry.
    (asserts! (> (get activation receipt) u0) (err ERR_ZERO_ACTIVATION))
    (asserts! (and (>= height (get created-burn-height entry)) (<= height (get expiration-burn-height entry)))
      (err ERR_RECEIPT_HEIGHT))
    (asserts! (<= height burn-block-height) (err ERR_RECEIPT_FROM_FUTURE))
    (asserts! (and (> (get btc-price-e8 receipt) u0) (> (get stx-price-e8 receipt) u0)) (err ERR_ZERO_PRICE))
    (asserts! (contract-call? .parameter is-oracle-signature "bithedge-activation-receipt"
        (sha256 (unwrap-panic (to-consensus-buff? receipt))) signature)
      (err ERR_INVALID_RECEIPT_SIGNATURE))
    (try! (contract-call? .oracle assert-round-agrees "BTC/USD" btc-round height (get btc-price-e8 receipt)))
    (and (is-eq (get token entry) TOKEN_STX)
      (try! (contract-call? .oracle assert-round-agrees "STX/USD" stx-round height (get stx-price-e8 receipt))))
    (let ((payout (payout-of (get token entry) (get amount-sats entry) (get strike-price-e8 entry)
            (get floor-price-e8 entry) (get max-payout entry) (get btc-price-e8 receipt) (get stx-price-e8 receipt))))
      (asserts! (> payout u0) (err ERR_OUT_OF_THE_MONEY))
      (try! (settle id payout (get activation receipt) height
        (get btc-price-e8 receipt) (get stx-price-e8 receipt) (get observed-at receipt)))
      (ok payout))))

;; --- Expiry

;; Ends up to 200 policies of one expiration height on that height's one receipt: pays those in the money unless
;; their holder opted out, expires the rest. An id that cannot be ended now is refused with its error number and
;; harms no other. Answers {id, status, error} per id, in order; error u0 unless refused.
(define-public (expire-policies (ids (list 200 uint))
    (receipt { expiration-burn-height: uint, btc-price-e8: uint, stx-price-e8: uint, observed-at: uint })
    (signature (buff 65)))
  (begin
    (asserts! (contract-call? .parameter is-backend-principal contract-caller) (err ERR_NOT_AUTHORIZED))
    (asserts! (and (> (get btc-price-e8 receipt) u0) (> (get stx-price-e8 receipt) u0)) (err ERR_ZERO_PRICE))
    (asserts! (contract-call? .parameter is-oracle-signature "bithedge-expiry-receipt"
        (sha256 (unwrap-panic (to-consensus-buff? receipt))) signature)
      (err ERR_INVALID_RECEIPT_SIGNATURE))
    (end-policies ids receipt)))

;; The last way out for collateral when backend or oracle are gone: long after the expiration anyone may expire
;; a policy without a receipt. Nothing is paid.
(define-public (expire-abandoned-policies (ids (list 200 uint)))
  (end-policies ids NO_RECEIPT))

(define-private (end-policies
    (ids (list 200 uint))
    (receipt { expiration-burn-height: uint, btc-price-e8: uint, stx-price-e8: uint, observed-at: uint }))
  (let ((done (fold end-next ids { receipt: receipt, stx: u0, sbtc: u0, results: (list) })))
    (asserts! (not (contract-call? .parameter is-paused "settlement")) (err ERR_PAUSED))
    ;; One release per token instead of one per policy: half the cost of a full batch.
    (and (> (get stx done) u0)
      (try! (contract-call? .liquidity-pool-vault release-collateral-aggregate TOKEN_STX (get stx done))))
    (and (> (get sbtc done) u0)
      (try! (contract-call? .liquidity-pool-vault release-collateral-aggregate TOKEN_SBTC (get sbtc done))))
    (ok (get results done))))

(define-private (end-next (id uint) (state {
    receipt: { expiration-burn-height: uint, btc-price-e8: uint, stx-price-e8: uint, observed-at: uint },
    stx: uint, sbtc: uint, results: (list 200 { id: uint, status: uint, error: uint }) }))
  (let ((ended (match (end-policy id (get receipt state))
          done done
          error (let ((refusal { topic: "policy-refused", id: id, error: error }))
            ;; Whoever tries to expire abandoned policies may name any: that is answered, but is no event.
            (if (is-eq (get receipt state) NO_RECEIPT) refusal (print refusal))
            { status: ACTIVE, error: error, stx: u0, sbtc: u0 })))
        (result { id: id, status: (get status ended), error: (get error ended) }))
    (merge state {
      stx: (+ (get stx state) (get stx ended)),
      sbtc: (+ (get sbtc state) (get sbtc ended)),
      results: (unwrap-panic (as-max-len? (append (get results state) result) u200)) })))

;; Settles or expires one policy; answers its new status and the collateral per token that is left to release.
(define-private (end-policy
    (id uint)
    (receipt { expiration-burn-height: uint, btc-price-e8: uint, stx-price-e8: uint, observed-at: uint }))
  (let ((entry (unwrap! (map-get? policies id) (err ERR_UNKNOWN_POLICY)))
        (expiration (get expiration-burn-height entry))
        (abandoned (is-eq receipt NO_RECEIPT))
        (wait (if abandoned
          (try! (contract-call? .parameter get-parameter "expiry.abandoned-blocks"))
          (get grace-blocks entry)))
        (payout (if (or abandoned (not (get auto-settle entry)))
          u0
          (payout-of (get token entry) (get amount-sats entry) (get strike-price-e8 entry)
            (get floor-price-e8 entry) (get max-payout entry)
            (get btc-price-e8 receipt) (get stx-price-e8 receipt)))))
    (asserts! (is-eq (get status entry) ACTIVE) (err ERR_NOT_ACTIVE))
    (asserts! (or abandoned (is-eq expiration (get expiration-burn-height receipt))) (err ERR_OTHER_EXPIRATION))
    (asserts! (> burn-block-height (- (+ expiration wait (contract-call? .parameter get-settlement-pause-counter))
                                      (get settlement-pause-counter entry)))
      (err ERR_NOT_DUE))
    (if (> payout u0)
      (settle id payout u0 expiration
        (get btc-price-e8 receipt) (get stx-price-e8 receipt) (get observed-at receipt))
      (begin
        (map-set policies id (merge entry {
          status: EXPIRED, settlement-btc-price-e8: (get btc-price-e8 receipt),
          settlement-stx-price-e8: (get stx-price-e8 receipt), settlement-burn-height: burn-block-height }))
        (print { topic: "policy-expired", id: id, policy-id: (get policy-id entry), holder: (get holder entry),
                 token: (get token entry), max-payout: (get max-payout entry),
                 btc-price-e8: (get btc-price-e8 receipt) })
        (ok { status: EXPIRED, error: u0,
              stx: (if (is-eq (get token entry) TOKEN_STX) (get max-payout entry) u0),
              sbtc: (if (is-eq (get token entry) TOKEN_SBTC) (get max-payout entry) u0) })))))

;; --- Both ends

;; Pays the holder, frees the rest, and only then says Settled: nothing is ever paid and still active.
(define-private (settle
    (id uint) (payout uint) (activation uint) (receipt-burn-height uint)
    (btc-price-e8 uint) (stx-price-e8 uint) (observed-at uint))
  (let ((entry (unwrap! (map-get? policies id) (err ERR_UNKNOWN_POLICY))))
    (try! (contract-call? .liquidity-pool-vault pay-policy
      (get token entry) (get holder entry) payout (get max-payout entry)))
    (map-set policies id (merge entry {
      status: SETTLED, payout: payout, settlement-btc-price-e8: btc-price-e8,
      settlement-stx-price-e8: stx-price-e8, settlement-burn-height: burn-block-height }))
    (print { topic: "policy-settled", id: id, policy-id: (get policy-id entry), holder: (get holder entry),
             token: (get token entry), payout: payout, max-payout: (get max-payout entry),
             released: (- (get max-payout entry) payout), btc-price-e8: btc-price-e8, stx-price-e8: stx-price-e8,
             receipt-burn-height: receipt-burn-height, observed-at: observed-at, activation: activation })
    (ok { status: SETTLED, error: u0, stx: u0, sbtc: u0 })))
