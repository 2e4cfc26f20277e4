//! Makes a failing run smaller, and tells it.

use std::{fmt::Write, time::Duration};

use crate::{
    plan::{Ends, Plan, What},
    world::run,
};

/// The smallest run that was found to fail in the same way, as a story.
pub(crate) fn story(plan: Plan) -> String {
    let plan = smaller(plan);
    let mut story = String::new();
    let _ = write!(story, "{plan}");
    if let Err(failure) = run(&plan, true) {
        for line in failure.story {
            let _ = writeln!(story, "{line}");
        }
        let _ = writeln!(story, "WRONG: {}", failure.what);
    }
    story
}

fn smaller(mut plan: Plan) -> Plan {
    let kind = |plan: &Plan| run(plan, false).err().map(|failure| failure.kind);
    let Some(wrong) = kind(&plan) else {
        return plan;
    };
    let as_usual = Plan {
        ahead: Duration::ZERO,
        ..plan.clone()
    };
    if kind(&as_usual) == Some(wrong) {
        plan = as_usual;
    }
    let mut again = true;
    while again {
        again = false;
        let mut place = 0;
        while place < plan.steps.len() {
            let mut less = plan.clone();
            less.steps.remove(place);
            if kind(&less) == Some(wrong) {
                plan = less;
                again = true;
            } else {
                place += 1;
            }
        }
        for session in 0..plan.sessions.len() {
            for simplify in [
                |plan: &mut Plan, session: usize| plan.sessions[session].loses_one_in = 0,
                |plan: &mut Plan, session: usize| plan.sessions[session].loses_pushes_one_in = 0,
                |plan: &mut Plan, session: usize| plan.sessions[session].repeats_one_in = 0,
                |plan: &mut Plan, session: usize| {
                    plan.sessions[session].delays = [Duration::from_micros(60); 2];
                },
            ] {
                let mut less = plan.clone();
                simplify(&mut less, session);
                let is_less = format!("{less:?}") != format!("{plan:?}");
                if is_less && kind(&less) == Some(wrong) {
                    plan = less;
                    again = true;
                }
            }
        }
        for place in 0..plan.steps.len() {
            let mut less = plan.clone();
            if let What::Request(request) = &mut less.steps[place].what {
                request.leaves_after = None;
                if request.ends != Ends::Never {
                    request.terms.max_hold = None;
                }
                request.terms.min_hold = None;
            }
            let is_less = format!("{less:?}") != format!("{plan:?}");
            if is_less && kind(&less) == Some(wrong) {
                plan = less;
                again = true;
            }
        }
    }
    plan
}
