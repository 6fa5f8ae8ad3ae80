//! Keep alive: when a peer counts as gone, and when a client must say that it is there.

/// The server's side: the peer is gone when nothing came for 1.5 times the keep alive
/// [MQTT5-3.1.2-22] [MQTT3-3.1.2-24].
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAlive {
    /// 0 is off.
    limit_ms: u64,
    last_ms: u64,
}

impl KeepAlive {
    /// Starts now with a keep alive of that many seconds; 0 is off.
    pub fn new(keep_alive_s: u16, now_ms: u64) -> Self {
        Self {
            limit_ms: u64::from(keep_alive_s) * 1_500,
            last_ms: now_ms,
        }
    }

    /// Something came: a packet, or more of one that is large.
    pub fn heard(&mut self, now_ms: u64) {
        self.last_ms = now_ms;
    }

    /// When the peer counts as gone.
    pub fn deadline_ms(&self) -> Option<u64> {
        (self.limit_ms > 0).then(|| self.last_ms + self.limit_ms)
    }
}

/// The client's side: PINGREQ when nothing was sent for the keep alive [MQTT5-3.1.2-20], or nothing
/// came for as long (a client that only sends would not see that its server is gone), and an end when
/// the answer stays out.
#[derive(Debug, Clone, Copy, Default)]
pub struct PingTimer {
    interval_ms: u64,
    /// How long an answer may take: half a keep alive, with the whole one the 1.5 times that a server waits.
    answer_ms: u64,
    sent_ms: u64,
    heard_ms: u64,
    pinged_ms: Option<u64>,
    /// Whether traffic puts no ping off.
    is_regular: bool,
}

/// What a client must do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingAction {
    /// Nothing.
    Wait,
    /// Send PINGREQ.
    Ping,
    /// No PINGRESP came in time: the server is gone.
    Lost,
}

impl PingTimer {
    /// Starts now; 0 seconds is off.
    pub fn new(keep_alive_s: u16, now_ms: u64) -> Self {
        Self::early(keep_alive_s, 100, now_ms)
    }

    /// The same, but pings after that many hundredths of the keep alive, 1 to 100.
    pub fn early(keep_alive_s: u16, percent: u8, now_ms: u64) -> Self {
        Self {
            interval_ms: u64::from(keep_alive_s) * 10 * u64::from(percent.clamp(1, 100)),
            answer_ms: (u64::from(keep_alive_s) * 500).max(1_000),
            sent_ms: now_ms,
            heard_ms: now_ms,
            pinged_ms: None,
            is_regular: false,
        }
    }

    /// The same timer, but traffic puts no ping off: one leaves after each interval.
    #[must_use]
    pub const fn regular(self) -> Self {
        Self {
            is_regular: true,
            ..self
        }
    }

    /// Something was sent.
    pub fn sent(&mut self, now_ms: u64) {
        if !self.is_regular {
            self.sent_ms = now_ms;
        }
    }

    /// Something came: the server is there.
    pub fn heard(&mut self, now_ms: u64) {
        if !self.is_regular {
            self.heard_ms = now_ms;
        }
        self.pinged_ms = None;
    }

    /// When to ask `action` again.
    pub fn deadline_ms(&self) -> Option<u64> {
        if self.interval_ms == 0 {
            return None;
        }
        Some(match self.pinged_ms {
            Some(pinged_ms) => pinged_ms + self.answer_ms,
            None => self.sent_ms.min(self.heard_ms) + self.interval_ms,
        })
    }

    /// What to do at `now_ms`; a ping that it asks for counts as sent.
    pub fn action(&mut self, now_ms: u64) -> PingAction {
        match self.deadline_ms() {
            Some(at) if now_ms >= at => {}
            _ => return PingAction::Wait,
        }
        if self.pinged_ms.is_some() {
            return PingAction::Lost;
        }
        self.pinged_ms = Some(now_ms);
        self.sent_ms = now_ms;
        if self.is_regular {
            self.heard_ms = now_ms;
        }
        PingAction::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_a_half_times() {
        let mut keep_alive = KeepAlive::new(10, 1_000);
        assert_eq!(keep_alive.deadline_ms(), Some(16_000));
        keep_alive.heard(5_000);
        assert_eq!(keep_alive.deadline_ms(), Some(20_000));
        assert_eq!(KeepAlive::new(0, 1_000).deadline_ms(), None);
    }

    #[test]
    fn pings_and_their_answers() {
        let mut timer = PingTimer::new(10, 0);
        assert_eq!(timer.action(9_999), PingAction::Wait);
        assert_eq!(timer.action(10_000), PingAction::Ping);
        assert_eq!(timer.action(14_999), PingAction::Wait);
        timer.heard(14_999);
        assert_eq!(timer.action(19_999), PingAction::Wait);
        assert_eq!(timer.action(20_000), PingAction::Ping);
        assert_eq!(timer.action(25_000), PingAction::Lost);
        assert_eq!(PingTimer::new(0, 0).action(u64::MAX), PingAction::Wait);
    }

    #[test]
    fn an_early_ping_has_as_long_for_its_answer() {
        let mut timer = PingTimer::early(100, 75, 0);
        assert_eq!(timer.action(74_999), PingAction::Wait);
        assert_eq!(timer.action(75_000), PingAction::Ping);
        assert_eq!(timer.action(124_999), PingAction::Wait);
        assert_eq!(timer.action(125_000), PingAction::Lost);
    }

    #[test]
    fn regular_pings_are_not_put_off() {
        let mut timer = PingTimer::early(20, 75, 0).regular();
        timer.sent(14_000);
        timer.heard(14_500);
        assert_eq!(timer.action(14_999), PingAction::Wait);
        assert_eq!(timer.action(15_000), PingAction::Ping);
        timer.heard(16_000);
        assert_eq!(timer.action(29_999), PingAction::Wait);
        assert_eq!(timer.action(30_000), PingAction::Ping);
        assert_eq!(timer.action(39_999), PingAction::Wait);
        assert_eq!(timer.action(40_000), PingAction::Lost);
    }

    #[test]
    fn a_client_that_only_sends_pings_too() {
        let mut timer = PingTimer::new(10, 0);
        timer.sent(9_500);
        assert_eq!(timer.action(9_999), PingAction::Wait);
        assert_eq!(timer.action(10_000), PingAction::Ping);
        timer.sent(14_000);
        assert_eq!(timer.action(15_000), PingAction::Lost);
    }
}
