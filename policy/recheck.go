package policy

import (
	"context"
	"slices"
	"sync"
	"time"

	"example.com/bailiff/internal/event"
)

// Checking an act that the kernel has denied against all rules of its hook, of
// which a policy may have 1,000, takes milliseconds, and denials may come by the
// thousand. So much of one processor is for that, and so much at once.
const (
	wholeShare = 0.05
	wholeBurst = 500 * time.Millisecond
)

// Recheck is Decide for an act that the kernel has judged. While there is time
// for it OPA is asked about all rules: that also finds a rule of which lowering
// has lost a part. Beyond that OPA is asked about the rules whose lowered form
// may hold, if the one that the kernel names is among them. The answer is the
// same, as long as lowering is sound.
func (p *Policy) Recheck(ctx context.Context, e *event.Event) (event.Decision, error) {
	h := p.hooks[e.Hook.Package()]
	if h == nil || e.Decision.Undecided || e.Decision.Verdict < event.VerdictAlert {
		return p.Decide(ctx, e)
	}
	start := time.Now()
	if !p.whole.any(start) {
		among := p.open(e, everyRule)
		named := e.Decision.Rule
		if named == nil || slices.ContainsFunc(among, func(i int) bool { return sameRule(&h.rules[i].Ref, named) }) {
			return p.evaluate(ctx, h, e, among, nil)
		}
	}
	defer func() { p.whole.take(time.Since(start)) }()
	return p.evaluate(ctx, h, e, nil, nil)
}

func sameRule(a, b *event.RuleRef) bool {
	return a.ID == b.ID && a.Path == b.Path && a.File == b.File && a.Line == b.Line
}

// allowance is time that may be taken, which grows as time goes by.
type allowance struct {
	mu   sync.Mutex
	left time.Duration
	at   time.Time
}

func newAllowance() *allowance { return &allowance{left: wholeBurst, at: time.Now()} }

func (a *allowance) any(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = min(wholeBurst, a.left+time.Duration(wholeShare*float64(now.Sub(a.at))))
	a.at = now
	return a.left > 0
}

func (a *allowance) take(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left -= d
}
