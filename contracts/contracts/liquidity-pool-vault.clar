;; liquidity-pool-vault: holds the money of the pool.
;;
;; Per token it keeps three sums: `accounted` (what came in and went out through these functions), `locked` (the
;; collateral of open policies) and `fees` (the platform's part). Always locked <= accounted - fees, and
;; accounted <= what the vault really owns. Who owns which share is kept off-chain; what may leave is decided by
;; the registry, by a backend-signed voucher, or, for fees and excess only, by the admin.

(define-constant ERR_NOT_REGISTRY u4001)
(define-constant ERR_NOT_DIRECT u4002)
(define-constant ERR_PAUSED u4003)
(define-constant ERR_UNKNOWN_TOKEN u4004)
(define-constant ERR_UNKNOWN_TIER u4005)
(define-constant ERR_ZERO_AMOUNT u4006)
(define-constant ERR_TRANSFER_IN u4007)
(define-constant ERR_TRANSFER_OUT u4008)
(define-constant ERR_INSUFFICIENT_CAPACITY u4009)
(define-constant ERR_INSUFFICIENT_FREE u4010)
(define-constant ERR_EXCEEDS_LOCKED u4011)
(define-constant ERR_PAYOUT_EXCEEDS_COLLATERAL u4012)
(define-constant ERR_NOT_PROVIDER u4013)
(define-constant ERR_VOUCHER_EXPIRED u4014)
(define-constant ERR_VOUCHER_USED u4015)
(define-constant ERR_INVALID_SIGNATURE u4016)
(define-constant ERR_NOT_ADMIN u4017)
(define-constant ERR_EXCEEDS_FEES u4018)
(define-constant ERR_POLICY_TOO_LARGE u4019)
(define-constant ERR_DAY_TOO_LARGE u4020)
(define-constant ERR_VOUCHER_DELAYED u4021)
(define-constant ERR_VOUCHER_CHANGED u4022)

(define-constant TOKEN_STX u1)
(define-constant TOKEN_SBTC u2)
(define-constant TIERS u3)
(define-constant BURN_BLOCKS_PER_DAY u144)
(define-constant REGISTRY .policy-registry)

(define-map pools uint { accounted: uint, locked: uint, fees: uint })
(map-insert pools TOKEN_STX { accounted: u0, locked: u0, fees: u0 })
(map-insert pools TOKEN_SBTC { accounted: u0, locked: u0, fees: u0 })

(define-map used-vouchers (buff 16) bool)
;; Announced vouchers: the first burn height at which they are paid, for a day from then, and the hash of what was
;; announced: the id alone would let another provider and amount, signed under it later, pass the delay unseen.
(define-map delayed-vouchers (buff 16) { ready-burn-height: uint, hash: (buff 32) })
;; Paid at once on vouchers, per token and day of burn blocks.
(define-map withdrawn-by-day { token: uint, day: uint } uint)
;; Collateral newly locked per token and day of burn blocks.
(define-map issued-by-day { token: uint, day: uint } uint)

;; --- Reading

(define-read-only (get-balances)
  { stx: (merge (pool-or-zero TOKEN_STX) { balance: (own-balance TOKEN_STX) }),
    sbtc: (merge (pool-or-zero TOKEN_SBTC) { balance: (own-balance TOKEN_SBTC) }) })

(define-read-only (is-voucher-used (voucher-id (buff 16)))
  (default-to false (map-get? used-vouchers voucher-id)))

(define-read-only (get-ready-burn-height (voucher-id (buff 16)))
  (match (map-get? delayed-vouchers voucher-id) waiting (some (get ready-burn-height waiting)) none))

(define-read-only (get-issued (token uint) (day uint))
  (default-to u0 (map-get? issued-by-day { token: token, day: day })))

;; --- Providers

(define-public (deposit-to-pool (token uint) (tier uint) (amount uint))
  (let ((pool (unwrap! (map-get? pools token) (err ERR_UNKNOWN_TOKEN)))
        (accounted (+ (get accounted pool) amount)))
    (asserts! (not (contract-call? .parameter is-paused "deposits")) (err ERR_PAUSED))
    (asserts! (is-eq tx-sender contract-caller) (err ERR_NOT_DIRECT))
    (asserts! (and (> tier u0) (<= tier TIERS)) (err ERR_UNKNOWN_TIER))
    (asserts! (> amount u0) (err ERR_ZERO_AMOUNT))
    (try! (receive-from-sender token amount))
    (map-set pools token (merge pool { accounted: accounted }))
    (print { topic: "deposit", provider: tx-sender, token: token, tier: tier, amount: amount,
             accounted: accounted, locked: (get locked pool) })
    (ok true)))

;; Pays out free capital on a voucher: single use, for one provider, until a height. Answers true when paid.
;;
;; Vouchers need one key only, so a thief of that key could empty the pool. What is paid at once is therefore
;; capped per token and day; a voucher beyond the cap is only announced by its first call (answer false), and is
;; paid by the same call after a delay in which the admin may veto it.
(define-public (withdraw-from-pool
    (voucher { voucher-id: (buff 16), provider: principal, token: uint, amount: uint, expiry-burn-height: uint })
    (signature (buff 65)))
  (let ((token (get token voucher))
        (amount (get amount voucher))
        (id (get voucher-id voucher))
        (hash (sha256 (unwrap-panic (to-consensus-buff? voucher))))
        (pool (unwrap! (map-get? pools token) (err ERR_UNKNOWN_TOKEN))))
    (asserts! (not (contract-call? .parameter is-paused "withdrawals")) (err ERR_PAUSED))
    (asserts! (is-eq tx-sender contract-caller) (err ERR_NOT_DIRECT))
    (asserts! (is-eq tx-sender (get provider voucher)) (err ERR_NOT_PROVIDER))
    (asserts! (> amount u0) (err ERR_ZERO_AMOUNT))
    (asserts! (not (is-voucher-used id)) (err ERR_VOUCHER_USED))
    (asserts! (<= burn-block-height (match (get-ready-burn-height id)
        ready-height (+ ready-height BURN_BLOCKS_PER_DAY)
        (get expiry-burn-height voucher)))
      (err ERR_VOUCHER_EXPIRED))
    (asserts! (contract-call? .parameter is-backend-signature "bithedge-voucher" hash signature)
      (err ERR_INVALID_SIGNATURE))
    (asserts! (<= (+ amount (get locked pool) (get fees pool)) (get accounted pool)) (err ERR_INSUFFICIENT_FREE))
    (if (try! (may-leave-now id hash token amount))
      (begin
        (try! (pay token amount tx-sender))
        (map-insert used-vouchers id true)
        (map-set pools token (merge pool { accounted: (- (get accounted pool) amount) }))
        (print { topic: "withdrawal", voucher-id: id, provider: tx-sender, token: token, amount: amount,
                 accounted: (- (get accounted pool) amount), locked: (get locked pool) })
        (ok true))
      (begin
        (print { topic: "withdrawal-delayed", voucher-id: id, provider: tx-sender, token: token, amount: amount,
                 ready-burn-height: (default-to u0 (get-ready-burn-height id)) })
        (ok false)))))

;; --- The registry

;; Takes premium and fee from the buyer (`tx-sender`, so the buyer's own post-conditions see it) and locks the
;; collateral of the new policy. The premium counts as capital at once.
(define-public (lock-collateral-aggregate (token uint) (premium uint) (fee uint) (collateral uint))
  (let ((pool (unwrap! (map-get? pools token) (err ERR_UNKNOWN_TOKEN)))
        (accounted (+ (get accounted pool) premium fee))
        (locked (+ (get locked pool) collateral))
        (fees (+ (get fees pool) fee)))
    (try! (assert-registry))
    (try! (count-issuance token collateral))
    (asserts! (<= (+ locked fees) accounted) (err ERR_INSUFFICIENT_CAPACITY))
    (try! (receive-from-sender token (+ premium fee)))
    (map-set pools token { accounted: accounted, locked: locked, fees: fees })
    (print { topic: "collateral-locked", token: token, premium: premium, fee: fee, collateral: collateral,
             accounted: accounted, locked: locked })
    (ok true)))

(define-public (release-collateral-aggregate (token uint) (collateral uint))
  (let ((pool (unwrap! (map-get? pools token) (err ERR_UNKNOWN_TOKEN))))
    (try! (assert-registry))
    (asserts! (<= collateral (get locked pool)) (err ERR_EXCEEDS_LOCKED))
    (map-set pools token (merge pool { locked: (- (get locked pool) collateral) }))
    (print { topic: "collateral-released", token: token, collateral: collateral,
             accounted: (get accounted pool), locked: (- (get locked pool) collateral) })
    (ok true)))

;; Pays a policy and frees its whole collateral: what is not paid is the pool's again.
(define-public (pay-policy (token uint) (holder principal) (payout uint) (collateral uint))
  (let ((pool (unwrap! (map-get? pools token) (err ERR_UNKNOWN_TOKEN))))
    (try! (assert-registry))
    (asserts! (<= payout collateral) (err ERR_PAYOUT_EXCEEDS_COLLATERAL))
    (asserts! (<= collateral (get locked pool)) (err ERR_EXCEEDS_LOCKED))
    (try! (pay token payout holder))
    (map-set pools token (merge pool {
      accounted: (- (get accounted pool) payout), locked: (- (get locked pool) collateral) }))
    (print { topic: "payout", holder: holder, token: token, payout: payout, collateral: collateral,
             accounted: (- (get accounted pool) payout), locked: (- (get locked pool) collateral) })
    (ok true)))

;; --- The admin

;; Stops a voucher that is waiting, or any other that must never be paid.
(define-public (veto-voucher (voucher-id (buff 16)))
  (begin
    (try! (assert-admin))
    (asserts! (map-insert used-vouchers voucher-id true) (err ERR_VOUCHER_USED))
    (print { topic: "voucher-vetoed", voucher-id: voucher-id })
    (ok true)))

(define-public (withdraw-fees (token uint) (amount uint) (recipient principal))
  (let ((pool (unwrap! (map-get? pools token) (err ERR_UNKNOWN_TOKEN))))
    (try! (assert-admin))
    (asserts! (> amount u0) (err ERR_ZERO_AMOUNT))
    (asserts! (<= amount (get fees pool)) (err ERR_EXCEEDS_FEES))
    (try! (pay token amount recipient))
    (map-set pools token (merge pool {
      accounted: (- (get accounted pool) amount), fees: (- (get fees pool) amount) }))
    (print { topic: "fees-withdrawn", recipient: recipient, token: token, amount: amount,
             accounted: (- (get accounted pool) amount), fees: (- (get fees pool) amount) })
    (ok true)))

;; Whatever was sent here outside these functions belongs to nobody's account; only that may be skimmed.
(define-public (skim-excess (token uint) (recipient principal))
  (let ((pool (unwrap! (map-get? pools token) (err ERR_UNKNOWN_TOKEN)))
        (excess (- (own-balance token) (get accounted pool))))
    (try! (assert-admin))
    (asserts! (> excess u0) (err ERR_ZERO_AMOUNT))
    (try! (pay token excess recipient))
    (print { topic: "excess-skimmed", recipient: recipient, token: token, amount: excess })
    (ok true)))

;; --- Private

(define-private (assert-registry)
  (ok (asserts! (is-eq contract-caller REGISTRY) (err ERR_NOT_REGISTRY))))

(define-private (assert-admin)
  (ok (asserts! (is-eq contract-caller (contract-call? .parameter get-admin)) (err ERR_NOT_ADMIN))))

;; Whether the voucher is paid by this call; if not, it now waits.
(define-private (may-leave-now (voucher-id (buff 16)) (hash (buff 32)) (token uint) (amount uint))
  (match (map-get? delayed-vouchers voucher-id)
    waiting
      (begin
        (asserts! (is-eq hash (get hash waiting)) (err ERR_VOUCHER_CHANGED))
        (ok (asserts! (>= burn-block-height (get ready-burn-height waiting)) (err ERR_VOUCHER_DELAYED))))
    (let ((day { token: token, day: (/ burn-block-height BURN_BLOCKS_PER_DAY) })
          (withdrawn (+ amount (default-to u0 (map-get? withdrawn-by-day day))))
          (cap (try! (contract-call? .parameter get-parameter
            (if (is-eq token TOKEN_STX) "withdrawal.max-per-day-stx" "withdrawal.max-per-day-sbtc"))))
          (delay (try! (contract-call? .parameter get-parameter "withdrawal.delay-blocks"))))
      (ok (if (<= withdrawn cap)
        (map-set withdrawn-by-day day withdrawn)
        (not (map-set delayed-vouchers voucher-id
          { ready-burn-height: (+ burn-block-height delay), hash: hash })))))))

;; Whatever the quotes say, only so much new collateral is locked per policy and per day.
(define-private (count-issuance (token uint) (collateral uint))
  (let ((is-stx (is-eq token TOKEN_STX))
        (day (/ burn-block-height BURN_BLOCKS_PER_DAY))
        (issued (+ collateral (get-issued token day))))
    (asserts! (<= collateral (try! (contract-call? .parameter get-parameter
        (if is-stx "issuance.max-per-policy-stx" "issuance.max-per-policy-sbtc")))) (err ERR_POLICY_TOO_LARGE))
    (asserts! (<= issued (try! (contract-call? .parameter get-parameter
        (if is-stx "issuance.max-per-day-stx" "issuance.max-per-day-sbtc")))) (err ERR_DAY_TOO_LARGE))
    (ok (map-set issued-by-day { token: token, day: day } issued))))

(define-private (pool-or-zero (token uint))
  (default-to { accounted: u0, locked: u0, fees: u0 } (map-get? pools token)))

(define-private (own-balance (token uint))
  (if (is-eq token TOKEN_STX)
    (stx-get-balance current-contract)
    ;; `get-balance` would count sBTC that is locked for withdrawal to Bitcoin.
    (unwrap-panic (contract-call? 'SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token
      get-balance-available current-contract))))

(define-private (receive-from-sender (token uint) (amount uint))
  (if (is-eq token TOKEN_STX)
    (ok (unwrap! (stx-transfer? amount tx-sender current-contract) (err ERR_TRANSFER_IN)))
    (ok (unwrap! (contract-call? 'SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token
      transfer amount tx-sender current-contract none) (err ERR_TRANSFER_IN)))))

;; The allowances bound what the vault can lose here to exactly this amount of exactly this token.
(define-private (pay (token uint) (amount uint) (recipient principal))
  (if (is-eq token TOKEN_STX)
    (ok (unwrap! (as-contract? ((with-stx amount))
        (unwrap! (stx-transfer? amount tx-sender recipient) (err ERR_TRANSFER_OUT)))
      (err ERR_TRANSFER_OUT)))
    (ok (unwrap! (as-contract? ((with-ft 'SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token "sbtc-token" amount))
        (unwrap! (contract-call? 'SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token
          transfer amount tx-sender recipient none) (err ERR_TRANSFER_OUT)))
      (err ERR_TRANSFER_OUT)))))
