;; parameter: who may do what, and within which limits.
;;
;; The other contracts ask here and hold no authority of their own, so that a key removed here is gone everywhere
;; in the same block. Authority is always `contract-caller`, never `tx-sender`: a contract that a privileged
;; principal happens to call must not inherit the privilege.

(define-constant ERR_NOT_ADMIN u1001)
(define-constant ERR_UNKNOWN_PARAMETER u1002)
(define-constant ERR_OUT_OF_BOUNDS u1003)
(define-constant ERR_UNKNOWN_TIER u1004)
(define-constant ERR_UNKNOWN_PAUSE u1005)
(define-constant ERR_ALREADY_PAUSED u1006)
(define-constant ERR_NOT_PAUSED u1007)
(define-constant ERR_PAUSED_TOO_RECENTLY u1008)
(define-constant ERR_NOT_PROPOSED_ADMIN u1009)
(define-constant ERR_INVALID_ORACLE_KEY u1010)
(define-constant ERR_UNKNOWN_CHANGE u1011)
(define-constant ERR_STRIKE_OUT_OF_BOUNDS u1012)
(define-constant ERR_FLOOR_OUT_OF_BOUNDS u1013)
(define-constant ERR_DURATION_OUT_OF_BOUNDS u1014)

;; "SIP018", the prefix of every structured message that is signed off-chain.
(define-constant SIP018_PREFIX 0x534950303138)
(define-constant TIER_PREFIXES (list "conservative." "balanced." "aggressive."))

(define-data-var admin principal tx-sender)
(define-data-var proposed-admin (optional principal) none)

(define-map parameters (string-ascii 48) { value: uint, minimum: uint, maximum: uint })
(define-map backend-principals principal bool)
(define-map oracle-keys (buff 33) bool)

;; The running or last pause of each kind covers the burn heights start <= h < end; `earlier` sums the lengths of
;; those before it. The end is fixed when a pause starts, so one that holds money back lapses without anybody's help.
(define-map pauses (string-ascii 16) { start: uint, end: uint, earlier: uint })
(define-constant NEVER_PAUSED { start: u0, end: u0, earlier: u0 })
(define-private (declare-pause (kind (string-ascii 16))) (map-insert pauses kind NEVER_PAUSED))
(map declare-pause (list "creation" "deposits" "withdrawals" "settlement"))
(define-constant UNTIL_LIFTED u340282366920938463463374607431768211455)

;; A change that waits for its delay: hash of the change -> first burn height at which it may be made.
(define-map scheduled-changes (buff 32) uint)
;; From then it may be made for a week. One that was announced and forgotten must not lie ready for a thief.
(define-constant CHANGE_WINDOW_BLOCKS u1008)

;; --- Reading

(define-read-only (get-admin) (var-get admin))
(define-read-only (get-proposed-admin) (var-get proposed-admin))

(define-read-only (get-parameter (name (string-ascii 48)))
  (ok (get value (unwrap! (map-get? parameters name) (err ERR_UNKNOWN_PARAMETER)))))

(define-read-only (get-parameter-bounds (name (string-ascii 48)))
  (let ((parameter (unwrap! (map-get? parameters name) (err ERR_UNKNOWN_PARAMETER))))
    (ok { minimum: (get minimum parameter), maximum: (get maximum parameter) })))

(define-read-only (get-tier (tier uint))
  (let ((prefix (unwrap! (element-at? TIER_PREFIXES (if (> tier u0) (- tier u1) u3)) (err ERR_UNKNOWN_TIER))))
    (ok {
      strike-min-bps: (try! (get-parameter (concat prefix "strike-min-bps"))),
      strike-max-bps: (try! (get-parameter (concat prefix "strike-max-bps"))),
      floor-min-bps: (try! (get-parameter (concat prefix "floor-min-bps"))),
      floor-max-bps: (try! (get-parameter (concat prefix "floor-max-bps"))),
      duration-min-blocks: (try! (get-parameter (concat prefix "duration-min-blocks"))),
      duration-max-blocks: (try! (get-parameter (concat prefix "duration-max-blocks"))),
      stx-haircut-bps: (try! (get-parameter (concat prefix "stx-haircut-bps"))),
      utilization-max-bps: (try! (get-parameter (concat prefix "utilization-max-bps"))),
      loading-bps: (try! (get-parameter (concat prefix "loading-bps"))) })))

;; That a policy's terms fit its tier at this BTC price; answers the tier's STX haircut.
(define-read-only (assert-within-tier (tier uint) (strike uint) (floor uint) (price uint) (from uint) (until uint))
  (let ((bounds (try! (get-tier tier))))
    (asserts! (is-ratio-within strike price (get strike-min-bps bounds) (get strike-max-bps bounds))
      (err ERR_STRIKE_OUT_OF_BOUNDS))
    (asserts! (is-ratio-within floor strike (get floor-min-bps bounds) (get floor-max-bps bounds))
      (err ERR_FLOOR_OUT_OF_BOUNDS))
    (asserts! (and (>= until (+ from (get duration-min-blocks bounds)))
                   (<= until (+ from (get duration-max-blocks bounds))))
      (err ERR_DURATION_OUT_OF_BOUNDS))
    (ok (get stx-haircut-bps bounds))))

(define-private (is-ratio-within (part uint) (whole uint) (least-bps uint) (most-bps uint))
  (and (>= (* part u10000) (* whole least-bps)) (<= (* part u10000) (* whole most-bps))))

(define-read-only (is-backend-principal (who principal)) (default-to false (map-get? backend-principals who)))

(define-read-only (is-oracle-key (key (buff 33))) (default-to false (map-get? oracle-keys key)))

(define-read-only (is-paused (kind (string-ascii 16))) (< burn-block-height (get end (get-pause kind))))

;; The running or last pause; one of an unknown kind never was.
(define-read-only (get-pause (kind (string-ascii 16)))
  (default-to NEVER_PAUSED (map-get? pauses kind)))

;; All burn blocks during which settlement has been paused so far. An entry keeps the value at its creation; the
;; growth since then is added to its grace.
(define-read-only (get-settlement-pause-counter)
  (let ((last (get-pause "settlement"))
        (end (get end last)))
    (- (+ (get earlier last) (if (< burn-block-height end) burn-block-height end)) (get start last))))

(define-read-only (get-scheduled-change (change (buff 32))) (map-get? scheduled-changes change))

;; --- Signatures
;; The signing domain names the contract that asks (`contract-caller`), so a signature made for one contract,
;; chain or kind of message is worthless for any other.

(define-read-only (recover-signer (kind (string-ascii 32)) (message-hash (buff 32)) (signature (buff 65)))
  (let ((domain { name: kind, version: "1", chain-id: chain-id, contract: contract-caller }))
    (secp256k1-recover?
      (sha256 (concat (concat SIP018_PREFIX (sha256 (unwrap-panic (to-consensus-buff? domain)))) message-hash))
      signature)))

(define-read-only (is-backend-signature (kind (string-ascii 32)) (message-hash (buff 32)) (signature (buff 65)))
  (match (recover-signer kind message-hash signature)
    key (match (principal-of? key) who (is-backend-principal who) failed false)
    failed false))

(define-read-only (is-oracle-signature (kind (string-ascii 32)) (message-hash (buff 32)) (signature (buff 65)))
  (match (recover-signer kind message-hash signature) key (is-oracle-key key) failed false))

;; --- Changes that wait
;; What widens power (new keys, other numbers) waits `admin.delay-blocks`: the first call only schedules it and
;; answers (ok false), the same call after the delay and within the window makes it and answers (ok true). With a
;; delay of zero, as at deployment, the first call does. What narrows power (removing keys, pausing) is immediate.

(define-public (set-parameter (name (string-ascii 48)) (value uint))
  (let ((parameter (unwrap! (map-get? parameters name) (err ERR_UNKNOWN_PARAMETER))))
    (try! (assert-admin))
    (asserts! (and (>= value (get minimum parameter)) (<= value (get maximum parameter))) (err ERR_OUT_OF_BOUNDS))
    (if (is-due (sha256 (unwrap-panic (to-consensus-buff? { name: name, value: value }))))
      (begin
        (print { topic: "parameter-set", name: name, old-value: (get value parameter), value: value })
        (ok (map-set parameters name (merge parameter { value: value }))))
      (ok false))))

(define-public (add-backend-principal (who principal))
  (begin
    (try! (assert-admin))
    (if (is-due (sha256 (unwrap-panic (to-consensus-buff? { backend-principal: who }))))
      (begin
        (print { topic: "backend-principal-added", principal: who })
        (ok (map-set backend-principals who true)))
      (ok false))))

(define-public (add-oracle-key (key (buff 33)))
  (begin
    (try! (assert-admin))
    ;; A key that is no point of the curve could never sign; refusing it here catches a typing error.
    (asserts! (and (is-eq (len key) u33) (is-ok (principal-of? key))) (err ERR_INVALID_ORACLE_KEY))
    (if (is-due (sha256 (unwrap-panic (to-consensus-buff? { oracle-key: key }))))
      (begin
        (print { topic: "oracle-key-added", key: key })
        (ok (map-set oracle-keys key true)))
      (ok false))))

(define-public (cancel-change (change (buff 32)))
  (begin
    (try! (assert-admin))
    (asserts! (map-delete scheduled-changes change) (err ERR_UNKNOWN_CHANGE))
    (print { topic: "change-cancelled", change: change })
    (ok true)))

;; --- Changes that are immediate

(define-public (remove-backend-principal (who principal))
  (begin
    (try! (assert-admin))
    (print { topic: "backend-principal-removed", principal: who })
    (ok (map-delete backend-principals who))))

(define-public (remove-oracle-key (key (buff 33)))
  (begin
    (try! (assert-admin))
    (print { topic: "oracle-key-removed", key: key })
    (ok (map-delete oracle-keys key))))

;; A pause that holds money back must be followed by at least as many burn blocks without one: otherwise repeating
;; it would hold the money back for ever. The block in which it was lifted counts as paused, so a pause within one
;; block counts too.
(define-public (pause (kind (string-ascii 16)))
  (let ((last (unwrap! (map-get? pauses kind) (err ERR_UNKNOWN_PAUSE)))
        (length (- (get end last) (get start last)))
        (end (match (longest-pause kind) blocks (+ burn-block-height blocks) UNTIL_LIFTED)))
    (try! (assert-admin))
    (asserts! (not (is-paused kind)) (err ERR_ALREADY_PAUSED))
    (asserts! (or (is-eq end UNTIL_LIFTED) (> burn-block-height (+ (get end last) length u1)))
      (err ERR_PAUSED_TOO_RECENTLY))
    (map-set pauses kind { start: burn-block-height, end: end, earlier: (+ (get earlier last) length) })
    (print { topic: "paused", kind: kind, burn-height: burn-block-height })
    (ok true)))

(define-public (unpause (kind (string-ascii 16)))
  (begin
    (try! (assert-admin))
    (asserts! (is-paused kind) (err ERR_NOT_PAUSED))
    (map-set pauses kind (merge (get-pause kind) { end: burn-block-height }))
    (print { topic: "unpaused", kind: kind, burn-height: burn-block-height })
    (ok true)))

(define-public (propose-admin (who principal))
  (begin
    (try! (assert-admin))
    ;; To propose oneself takes a proposal back, which need not wait.
    (if (or (is-eq who contract-caller) (is-due (sha256 (unwrap-panic (to-consensus-buff? { admin: who })))))
      (begin
        (print { topic: "admin-proposed", principal: who })
        (ok (var-set proposed-admin (some who))))
      (ok false))))

;; The second step is the new admin's, so that power is never handed to an address nobody holds.
(define-public (accept-admin)
  (begin
    (asserts! (is-eq (some contract-caller) (var-get proposed-admin)) (err ERR_NOT_PROPOSED_ADMIN))
    (print { topic: "admin-changed", old-admin: (var-get admin), admin: contract-caller })
    (var-set proposed-admin none)
    (ok (var-set admin contract-caller))))

;; --- Private

(define-private (assert-admin) (ok (asserts! (is-eq contract-caller (var-get admin)) (err ERR_NOT_ADMIN))))

(define-private (is-due (change (buff 32)))
  (let ((delay (value-of "admin.delay-blocks"))
        (ready-height (default-to u0 (map-get? scheduled-changes change)))
        (is-open (and (> ready-height u0) (<= burn-block-height (+ ready-height CHANGE_WINDOW_BLOCKS)))))
    (if is-open
      (and (>= burn-block-height ready-height) (map-delete scheduled-changes change))
      (or (is-eq delay u0) (schedule change (+ burn-block-height delay))))))

(define-private (schedule (change (buff 32)) (ready-height uint))
  (begin
    (print { topic: "change-scheduled", change: change, ready-burn-height: ready-height })
    (map-set scheduled-changes change ready-height)
    false))

;; What holds back money that is owed or owned has a longest pause; what keeps new money out has none.
(define-private (longest-pause (kind (string-ascii 16)))
  (if (is-eq kind "settlement")
    (some (value-of "settlement.pause-max-blocks"))
    (if (is-eq kind "withdrawals") (some (value-of "withdrawal.pause-max-blocks")) none)))

(define-private (value-of (name (string-ascii 48))) (unwrap-panic (get-parameter name)))

;; --- The table at deployment: value, least, greatest

(define-private (declare (name (string-ascii 48)) (value uint) (minimum uint) (maximum uint))
  (map-insert parameters name { value: value, minimum: minimum, maximum: maximum }))

(declare "admin.delay-blocks" u0 u0 u1008)

(declare "oracle.max-age-blocks" u6 u1 u36)
(declare "oracle.jump-base-bps" u1000 u10 u5000)
(declare "oracle.jump-per-block-bps" u200 u0 u2000)
(declare "oracle.silence-blocks" u36 u6 u1008)

(declare "creation.max-price-move-bps" u300 u10 u2000)
(declare "creation.max-stx-move-bps" u500 u10 u3000)
(declare "creation.margin-bps" u500 u0 u5000)
(declare "creation.min-rate-bps" u10 u0 u1000)

(declare "issuance.max-per-policy-stx" u10000000000000 u1 u1000000000000000)
(declare "issuance.max-per-policy-sbtc" u5000000000 u1 u2100000000000000)
(declare "issuance.max-per-day-stx" u100000000000000 u1 u1000000000000000)
(declare "issuance.max-per-day-sbtc" u50000000000 u1 u2100000000000000)

(declare "withdrawal.max-per-day-stx" u10000000000000 u1 u1000000000000000)
(declare "withdrawal.max-per-day-sbtc" u5000000000 u1 u2100000000000000)
(declare "withdrawal.delay-blocks" u144 u6 u1008)
(declare "withdrawal.pause-max-blocks" u1008 u1 u4320)

(declare "settlement.round-distance-blocks" u2 u1 u12)
(declare "settlement.round-tolerance-bps" u300 u10 u2000)
(declare "settlement.pause-max-blocks" u144 u1 u1008)
(declare "expiry.grace-blocks" u6 u1 u144)
(declare "expiry.abandoned-blocks" u1008 u1008 u4320)

(declare "policy.fee-bps" u50 u0 u1000)
(declare "quote.valid-blocks" u6 u1 u36)

;; The maxima are part of the arithmetic: a floor below the strike (floor-max < 10000) keeps payouts bounded,
;; a haircut below 10000 keeps their divisor above zero.
(define-private (declare-tier (prefix (string-ascii 13))
    (strike-min uint) (strike-max uint) (floor-min uint) (floor-max uint) (duration-min uint) (duration-max uint)
    (haircut uint) (utilization uint) (loading uint))
  (begin
    (declare (concat prefix "strike-min-bps") strike-min u1000 u10000)
    (declare (concat prefix "strike-max-bps") strike-max u1000 u20000)
    (declare (concat prefix "floor-min-bps") floor-min u1000 u9900)
    (declare (concat prefix "floor-max-bps") floor-max u1000 u9900)
    (declare (concat prefix "duration-min-blocks") duration-min u1 u52560)
    (declare (concat prefix "duration-max-blocks") duration-max u1 u52560)
    (declare (concat prefix "stx-haircut-bps") haircut u0 u9000)
    (declare (concat prefix "utilization-max-bps") utilization u0 u10000)
    (declare (concat prefix "loading-bps") loading u0 u10000)))

(declare-tier "conservative." u4700 u9300 u8000 u9800 u18 u1008 u2000 u8000 u1000)
(declare-tier "balanced." u4700 u10300 u6000 u9800 u18 u4320 u3000 u8000 u1500)
(declare-tier "aggressive." u4700 u11300 u4000 u9800 u18 u12960 u4000 u9000 u2500)
