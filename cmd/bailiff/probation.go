package main

import (
	"context"
	"errors"
	"time"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/rollout"
	"example.com/bailiff/internal/server"
)

// Codes of the notices about probation (event.Notice.Code): fields what, text,
// by, and until or reason.
const (
	noticeProbationBegun = "probation-begun"
	noticeProbationEnded = "probation-ended" // reason: confirmed, reverted, expired, superseded
)

// try puts a change on probation that was made a moment ago.
func (a *agent) try(c rollout.Change, confirm time.Duration, keep func() error, back func(context.Context) error) error {
	c.Since = time.Now()
	c.Until = c.Since.Add(confirm)
	// Told first: an end may follow at once.
	a.Record(event.Notice{Code: noticeProbationBegun, Text: c.Text + "; it goes back unless confirmed within " + confirm.String(),
		Fields: map[string]string{"what": c.What, "change": c.Text, "by": c.By, "until": c.Until.Format(time.RFC3339)}})
	return a.probation.Begin(c, keep, back)
}

// probationEnded tells how a probation ended.
func (a *agent) probationEnded(c rollout.Change, how rollout.End, by string, err error) {
	fields := map[string]string{"what": c.What, "change": c.Text, "by": by, "reason": string(how)}
	text := c.Text + ": " + string(how)
	if err != nil {
		fields["error"] = err.Error()
		text += ", which failed: " + err.Error()
		a.log.Error("probation did not end as it should", "change", c.Text, "reason", string(how), "error", err)
		a.Raise(enforcer.CondProbationStuck, text)
	} else {
		a.Clear(enforcer.CondProbationStuck)
	}
	a.log.Info("probation ended", "change", c.Text, "reason", string(how), "by", by)
	a.Record(event.Notice{Code: noticeProbationEnded, Text: text, Fields: fields})
}

// Confirm implements server.Agent.
func (a *agent) Confirm(ctx context.Context, revert bool, by string) (server.Probation, error) {
	var c rollout.Change
	var err error
	if revert {
		c, err = a.probation.Revert(ctx, by)
	} else {
		c, err = a.probation.Confirm(by)
	}
	if errors.Is(err, rollout.ErrNone) {
		return server.Probation{}, &userError{Code: "probation", Why: err.Error() + "; if there was one, it has gone back already",
			Hint: "`bailiff events --hook none` has the records"}
	}
	return probationOf(c), err
}

func probationOf(c rollout.Change) server.Probation {
	return server.Probation{What: c.What, Text: c.Text, By: c.By, Since: c.Since, Until: c.Until}
}
