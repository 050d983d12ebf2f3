//! A client of the load: it writes down what it was told, and when it is cut off it repeats the call with the same key,
//! as the contract says that it may.

use crate::calls::{Call, Hold, Kind, Own, draw};
use crate::world::World;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::thread::sleep;
use std::time::Duration;
use support::{Fault, Row, Session};

/// A call whose client was cut off. `found`: what the tables say of it, where somebody has looked since.
pub struct Pending {
    pub call: Call,
    pub found: Option<bool>,
}

pub struct Client {
    name: String,
    random: StdRng,
    calls: usize,
    own: Own,
    pub pending: Option<Pending>,
    /// Calls without a key that were cut off: whole or not at all, and nobody may repeat them.
    pub doubtful: Vec<Call>,
    /// Calls whose error says that nothing of them is there.
    undone: Vec<Call>,
    /// Calls with a key, and their first results.
    told: Vec<(Call, Vec<Row>)>,
}

enum Outcome {
    Done(Vec<Row>),
    Refused,
    /// Nothing of it is there, and nothing was wrong with it.
    Undone,
    Cut,
}

/// The codes of a connection that is gone, whether or not the server could say so.
pub fn is_cut(fault: &Fault) -> bool {
    matches!(fault.code.as_str(), "closed" | "57P01" | "57P02" | "57P03")
        // A pooler's words for it.
        || fault.code.starts_with("08")
}

impl Client {
    pub fn new(number: usize, seed: u64) -> Self {
        Client {
            name: format!("{}", (b'a' + number as u8) as char),
            random: StdRng::seed_from_u64(seed.wrapping_mul(1000) + number as u64),
            calls: 0,
            own: Own::default(),
            pending: None,
            doubtful: Vec::new(),
            undone: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Works until the world is over, or the connection; with `again` it connects anew and goes on.
    pub fn work(&mut self, world: &World, again: bool) {
        while !world.is_over() {
            match world.try_session() {
                Ok(mut session) => self.live(world, &mut session),
                Err(_) if again => sleep(Duration::from_millis(20)),
                Err(_) => return,
            }
            if !again {
                return;
            }
        }
    }

    fn live(&mut self, world: &World, session: &mut Session) {
        if let Some(Pending { call, found }) = self.pending.take() {
            match self.carry_out(world, session, &call) {
                Outcome::Cut => {
                    // It may have been done now.
                    self.pending = Some(Pending { call, found: found.filter(|found| *found) });
                    return;
                }
                Outcome::Done(rows) => {
                    self.check_repetition(world, &call, &rows, found);
                    self.take_note(world, call, rows);
                }
                Outcome::Refused | Outcome::Undone => {
                    assert_ne!(
                        found,
                        Some(true),
                        "{}: it was done, and its repetition is refused: {call:?}",
                        self.name
                    );
                }
            }
        }
        for _ in 0..3 {
            if self.told.is_empty() {
                break;
            }
            let place = self.random.random_range(0..self.told.len());
            let (call, first) = self.told[place].clone();
            match self.carry_out(world, session, &call) {
                Outcome::Done(rows) => {
                    let same = rows.len() == first.len()
                        && rows.iter().zip(&first).all(|(now, then)| {
                            now.flag("is_duplicate") && now.without("is_duplicate") == then.without("is_duplicate")
                        });
                    assert!(same, "repeated: {call:?}\nthen {first:?}\nnow  {rows:?}");
                    world.count("acknowledged calls repeated, with the same result", 1);
                }
                // It is there already, so nothing is pending.
                Outcome::Cut => return,
                Outcome::Undone => {}
                Outcome::Refused => panic!("{}: acknowledged, and its repetition is refused: {call:?}", self.name),
            }
        }
        while !world.is_over() {
            self.calls += 1;
            let token = format!("{}-{}", self.name, self.calls);
            let call = draw(&mut self.random, &mut self.own, &token, &world.clock());
            match self.carry_out(world, session, &call) {
                Outcome::Done(rows) => self.take_note(world, call, rows),
                Outcome::Refused => world.count("refused", 1),
                Outcome::Undone => {
                    world.count("undone", 1);
                    world.count(&format!("  undone: {:?}", call.kind), 1);
                    if call.repeatable {
                        self.undone.push(call);
                    }
                }
                Outcome::Cut => {
                    world.count("calls cut off", 1);
                    if call.repeatable {
                        self.pending = Some(Pending { call, found: None });
                    } else {
                        self.doubtful.push(call);
                    }
                    return;
                }
            }
        }
    }

    /// What was undone works now, as the first of its key, unless there is something else to say against it by now.
    pub fn make_up(&mut self, world: &World, session: &mut Session) {
        for mut call in std::mem::take(&mut self.undone) {
            // Another call may have closed the hold, or emptied the grant.
            call.refusals = &["PC004", "PC005", "22023"];
            match self.carry_out(world, session, &call) {
                // A release has no key of its own: another one of the same hold may have come first.
                Outcome::Done(rows) if call.kind == Kind::Release && rows[0].flag("is_duplicate") => {
                    world.count("repeated: it had been done", 1);
                }
                Outcome::Done(rows) => {
                    self.check_repetition(world, &call, &rows, Some(false));
                    self.take_note(world, call, rows);
                }
                Outcome::Refused => world.count("refused", 1),
                Outcome::Undone | Outcome::Cut => panic!("{}: undone again: {call:?}", self.name),
            }
        }
    }

    fn carry_out(&self, world: &World, session: &mut Session, call: &Call) -> Outcome {
        let mut answer = Vec::new();
        for (place, statement) in call.statements.iter().enumerate() {
            match session.try_rows(statement) {
                Ok(rows) if place == call.answer => answer = rows,
                Ok(_) => {}
                Err(fault) if is_cut(&fault) => return Outcome::Cut,
                Err(fault) => {
                    if call.statements.len() > 1 {
                        // Whether or not it gets there: it was not committed.
                        let _ = session.try_exec("ROLLBACK");
                    }
                    if world.is_undone(&fault) {
                        return Outcome::Undone;
                    }
                    let known = fault.code == "PC001" || call.refusals.contains(&fault.code.as_str());
                    assert!(known, "{}: {fault}", self.name);
                    return Outcome::Refused;
                }
            }
        }
        Outcome::Done(answer)
    }

    /// Where somebody has looked, the repetition must say the same of whether it is one.
    fn check_repetition(&self, world: &World, call: &Call, rows: &[Row], found: Option<bool>) {
        if !call.flagged {
            return;
        }
        let flags: Vec<bool> = rows.iter().map(|row| row.flag("is_duplicate")).collect();
        let done = flags.iter().all(|flag| *flag);
        assert!(done || !flags.contains(&true), "{}: a part of it was done: {call:?}, {rows:?}", self.name);
        if let Some(found) = found {
            assert_eq!(done, found, "{}: is_duplicate, and what the tables say: {call:?}, {rows:?}", self.name);
        }
        world.count(if done { "repeated: it had been done" } else { "repeated: it had not been done" }, 1);
    }

    fn take_note(&mut self, world: &World, mut call: Call, rows: Vec<Row>) {
        if call.kind == Kind::Void && rows[0].get("voided") == "0" {
            // Nothing was left of the grant: a success without a row.
            call.traces.clear();
        }
        let customer = call.customer.clone();
        match call.kind {
            Kind::Usage | Kind::UsageWithoutKey | Kind::Consumption => {
                self.own.usages.push((customer, rows[0].int("usage_id"), call.traces[0].amount));
            }
            Kind::Grant | Kind::GrantWithoutKey if !call.statements[0].contains("expires_at") => {
                self.own.grants.push((customer, rows[0].int("grant_id"), call.traces[0].amount));
            }
            Kind::Hold => self.own.holds.push(Hold {
                customer,
                id: call.traces[0].token.clone(),
                left: call.traces[0].amount,
                long: call.statements[0].contains("23 hours"),
            }),
            Kind::Settlement | Kind::Release => {
                let last = call.kind == Kind::Release || call.statements[0].contains("final => true");
                for hold in &mut self.own.holds {
                    if call.statements[0].contains(&format!("reservation_id => '{}'", hold.id)) {
                        hold.left = if last { 0 } else { rows[0].int("held") };
                    }
                }
                self.own.holds.retain(|hold| hold.left > 0);
            }
            Kind::Claim => {
                for row in &rows {
                    let payment = (row.get("customer_id").to_owned(), row.int("recharge_id"), row.int("amount"));
                    self.own.payments.push(payment);
                }
            }
            _ => {}
        }
        let id = rows.first().and_then(|row| {
            let column = match call.traces.first()?.what {
                "usage" => "usage_id",
                "grant" => "grant_id",
                _ => return None,
            };
            row.has(column).then(|| row.int(column))
        });
        world.acknowledge(&call, id);
        if call.repeatable && call.flagged && !matches!(call.kind, Kind::Release | Kind::Extension) {
            self.told.push((call, rows));
        }
    }
}
