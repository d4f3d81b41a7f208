/**
 * Market time: it stands still at speed 0 and otherwise runs `speed` market seconds per wall second, but never past a
 * burn block's time before that block is mined, and not at all while something holds it.
 */
export class MarketClock {
  #wallMs;
  speed = 0;

  /** @param {number} timeMs market time @param {() => number} wallClock monotonic, in ms */
  constructor(timeMs, wallClock = () => performance.now()) {
    this.timeMs = timeMs;
    this.wallClock = wallClock;
    this.#wallMs = wallClock();
  }

  /** @param {number} speed market seconds per wall second */
  setSpeed(speed) {
    this.speed = speed;
    this.#wallMs = this.wallClock();
  }

  /**
   * Runs on by the wall time since the last call.
   * @param {number} boundaryMs the next burn block's time: the clock stops there
   * @param {boolean} held the time since then does not count
   * @returns {boolean} whether the boundary is reached, so that its burn block is due
   */
  tick(boundaryMs, held) {
    const wallMs = this.wallClock();
    const passed = wallMs - this.#wallMs;
    this.#wallMs = wallMs;
    if (held || this.speed === 0) return false;
    // It may stand behind the boundary already when burn blocks were stopped: time never goes back.
    this.timeMs = Math.max(this.timeMs, Math.min(boundaryMs, this.timeMs + passed * this.speed));
    return this.timeMs >= boundaryMs;
  }

  /** Moves to a later time. @param {number} timeMs */
  moveTo(timeMs) {
    this.timeMs = Math.max(this.timeMs, timeMs);
    this.#wallMs = this.wallClock();
  }
}
