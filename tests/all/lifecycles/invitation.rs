//! The open invitation in a client's view, and what is reported of its course (000).

use serde_json::{Value, json};

use super::*;

pub fn stories() -> Vec<Story> {
    let shown = |count: u32, changed: Value| {
        let mut invitation = json!({
            "sent_at": z(t(0)), "channel": "standard", "steps": ["accepted", "onboarded", "consented"],
            "done": [], "missing": ["accepted", "onboarded", "consented"],
            "onboarded_independently": false, "bounced": false, "count": count,
        });
        let fields = changed.as_object().expect("fields").clone();
        invitation.as_object_mut().expect("an object").extend(fields);
        json!({ "invitation": invitation })
    };
    let sent = || draft().and("client.invited", t(0));
    vec![
        story("000", "an open invitation shows what is missing")
            .given(sent())
            .when(on("consent.granted", t(1)))
            .shows(shown(
                1,
                json!({ "done": ["consented"], "missing": ["accepted", "onboarded"] }),
            ))
            .changes(&["invitation.step_completed"]),
        story(
            "000",
            "an invitation shows its channel and the steps that it requires",
        )
        .given(draft())
        .when(on(
            r#"client.invited channel=referral steps=["consented","accepted"]"#,
            t(0),
        ))
        .shows(shown(
            1,
            json!({
                "channel": "referral", "steps": ["accepted", "consented"],
                "missing": ["accepted", "consented"],
            }),
        )),
        story("000", "an invitation that bounced is reported at once")
            .given(sent())
            .when(on("invitation.bounced reason=mailbox", t(1)))
            .shows(shown(1, json!({ "bounced": true })))
            .changes(&["invitation.bounced"]),
        story("000", "an invitation that bounced twice is reported once")
            .given(sent().and("invitation.bounced", t(1)))
            .when(on("invitation.bounced", t(2)))
            .changes(&[]),
        story("000", "an invitation that bounced can be accepted all the same")
            .given(sent().and("invitation.bounced", t(1)))
            .when(on("invitation.accepted", t(2)))
            .shows(shown(
                1,
                json!({ "bounced": true, "done": ["accepted"], "missing": ["onboarded", "consented"] }),
            )),
        story(
            "000",
            "a business that onboarded independently needs the invitation again",
        )
        .given(sent())
        .when(on("onboarding.completed via=independent", t(1)))
        .shows(shown(1, json!({ "onboarded_independently": true })))
        .changes(&["invitation.bypassed"]),
        story("000", "a second independent onboarding is not reported")
            .given(sent().and("onboarding.completed via=independent", t(1)))
            .when(on("onboarding.completed via=independent", t(2)))
            .changes(&[]),
        story("000", "a resend begins with nothing done, and is counted")
            .given(
                invited()
                    .and("invitation.accepted", t(-1))
                    .and("invitation.bounced", t(-1))
                    .and("onboarding.completed via=independent", t(-1)),
            )
            .when(on("client.invited", t(0)))
            .shows(shown(2, json!({}))),
        story("000", "the invitation after a link is counted too")
            .given(all_steps(invited(), t(-1)).and("client.archived", t(-1)))
            .when(on("client.invited", t(0)))
            .shows(shown(2, json!({}))),
        story("ours", "a client that is added again has not been invited yet")
            .given(
                draft()
                    .and("client.invited", t(-3))
                    .and("client.archived", t(-2))
                    .and("client.deleted", t(-2))
                    .and("client.added name=Bakery", t(-1)),
            )
            .when(on("client.invited", t(0)))
            .shows(shown(1, json!({}))),
        story("000", "a client without an open invitation shows none")
            .given(sent())
            .when(on("client.archived", t(1)))
            .shows(json!({ "invitation": null })),
    ]
}

#[test]
fn the_invitation_follows_the_table() {
    check(&stories());
}
