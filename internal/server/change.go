package server

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// ModeChange is what an operator asks for. Rule and Cgroup are exclusive;
// neither means for all.
type ModeChange struct {
	Mode    event.Mode
	Rule    string        // id
	Cgroup  string        // path below the cgroup2 mount, directory, or a name that only one cgroup has
	Share   uint32        // for all, enforce: parts of event.ShareAll of the cgroups; 0 is all
	Reset   bool          // the rule or the cgroup shall have no mode of its own
	Persist bool          // outlasts a restart
	Confirm time.Duration // goes back after this time unless confirmed; 0: stays
	Force   bool          // though the lock-out guard objects
}

// ModeChanged says what was done.
type ModeChanged struct {
	Previous    event.Mode
	HadPrevious bool // false: the rule or the cgroup had no mode of its own
	Text        string
}

// Reload says how to read the bundle again.
type Reload struct {
	AllowRollback bool // accept a bundle that is older than the one in force
	Force         bool // though the lock-out guard objects
}

// Apply is a bundle that an operator sends.
type Apply struct {
	Bundle  []byte        // tar.gz
	Name    string        // where the operator has it from
	Confirm time.Duration // goes back after this time unless confirmed; 0: stays
	Force   bool          // though the lock-out guard objects
}

// Probation is a change that goes back by itself unless it is confirmed.
type Probation struct {
	What  string    `json:"what"` // policy or mode
	Text  string    `json:"text"`
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// maxRequest bounds what a caller may send: a bundle is the largest of it.
const maxRequest = 32 << 20

// The bounds of a probation: long enough to be confirmed, short enough to be a
// probation.
const (
	minConfirm = time.Second
	maxConfirm = 24 * time.Hour
)

func confirmOf(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if c := d.AsDuration(); c >= minConfirm && c <= maxConfirm {
		return c, nil
	}
	return 0, status.Errorf(codes.InvalidArgument, "confirm %v is not between %v and %v", d.AsDuration(), minConfirm, maxConfirm)
}

func (s *agentService) SetMode(ctx context.Context, r *bailiffv1.SetModeRequest) (*bailiffv1.SetModeResponse, error) {
	c := ModeChange{Rule: r.GetRule(), Cgroup: r.GetCgroup(), Share: r.GetShare(), Reset: r.GetUnset(), Persist: r.GetPersist(), Force: r.GetForce()}
	switch m := r.GetMode(); {
	case c.Rule != "" && c.Cgroup != "":
		return nil, status.Error(codes.InvalidArgument, "rule and cgroup are exclusive")
	case c.Reset && c.Rule == "" && c.Cgroup == "":
		return nil, status.Error(codes.InvalidArgument, "the mode for all cannot be reset: set it")
	case !c.Reset && m != bailiffv1.Mode_MODE_AUDIT && m != bailiffv1.Mode_MODE_ENFORCE:
		return nil, status.Errorf(codes.InvalidArgument, "mode %v is not one of MODE_AUDIT, MODE_ENFORCE", m)
	case c.Share > event.ShareAll:
		return nil, status.Errorf(codes.InvalidArgument, "share %d is more than %d", c.Share, event.ShareAll)
	case c.Share != 0 && (m != bailiffv1.Mode_MODE_ENFORCE || c.Rule != "" || c.Cgroup != ""):
		return nil, status.Error(codes.InvalidArgument, "a share goes with MODE_ENFORCE for all only")
	}
	var err error
	if c.Confirm, err = confirmOf(r.GetConfirm()); err != nil {
		return nil, err
	}
	if !c.Reset {
		c.Mode = DecodeMode(r.GetMode())
	}
	done, err := s.agent.SetMode(ctx, c, callerOf(ctx).name)
	if err != nil {
		return nil, refused(err)
	}
	out := &bailiffv1.SetModeResponse{Mode: r.GetMode(), Text: utf8Of(done.Text), Probation: encodeProbation(s.agent.Status().Probation)}
	if done.HadPrevious {
		out.Previous = EncodeMode(done.Previous)
	}
	return out, nil
}

func (s *agentService) ApplyPolicy(ctx context.Context, r *bailiffv1.ApplyPolicyRequest) (*bailiffv1.ApplyPolicyResponse, error) {
	confirm, err := confirmOf(r.GetConfirm())
	if err != nil {
		return nil, err
	}
	previous := s.agent.Status().Revision
	a := Apply{Bundle: r.GetBundle(), Name: r.GetName(), Confirm: confirm, Force: r.GetForce()}
	if err := s.agent.ApplyPolicy(ctx, a, callerOf(ctx).name); err != nil {
		return nil, refused(err)
	}
	st := s.agent.Status()
	return &bailiffv1.ApplyPolicyResponse{
		PreviousRevision: previous, Revision: st.Revision, Generation: st.Generation, Probation: encodeProbation(st.Probation),
	}, nil
}

func (s *agentService) Confirm(ctx context.Context, r *bailiffv1.ConfirmRequest) (*bailiffv1.ConfirmResponse, error) {
	p, err := s.agent.Confirm(ctx, r.GetRevert(), callerOf(ctx).name)
	if err != nil {
		return nil, refused(err)
	}
	return &bailiffv1.ConfirmResponse{Probation: encodeProbation(&p)}, nil
}

func encodeProbation(p *Probation) *bailiffv1.Probation {
	if p == nil {
		return nil
	}
	return &bailiffv1.Probation{What: p.What, Text: utf8Of(p.Text), By: utf8Of(p.By), Since: stamp(p.Since), Until: stamp(p.Until)}
}

// DecodeProbation is for clients; nil stays nil.
func DecodeProbation(p *bailiffv1.Probation) *Probation {
	if p == nil {
		return nil
	}
	return &Probation{What: p.GetWhat(), Text: p.GetText(), By: p.GetBy(), Since: unstamp(p.GetSince()), Until: unstamp(p.GetUntil())}
}

func encodeModes(in map[string]event.Mode) map[string]bailiffv1.Mode {
	out := map[string]bailiffv1.Mode{}
	for k, m := range in {
		out[utf8Of(k)] = EncodeMode(m)
	}
	return out
}

func decodeModes(in map[string]bailiffv1.Mode) map[string]event.Mode {
	out := map[string]event.Mode{}
	for k, m := range in {
		out[k] = DecodeMode(m)
	}
	return out
}

// asked are the facts of a request that go on record.
func asked(req any) map[string]string {
	out := map[string]string{}
	set := func(key, value string) {
		if value != "" {
			out[key] = utf8Of(value)
		}
	}
	confirmed := func(d *durationpb.Duration, force bool) {
		if d != nil {
			out["confirm"] = d.AsDuration().String()
		}
		if force {
			out["force"] = "true"
		}
	}
	switch r := req.(type) {
	case *bailiffv1.SetModeRequest:
		if r.GetUnset() {
			out["mode"] = "default"
		} else {
			out["mode"] = DecodeMode(r.GetMode()).String()
		}
		if r.GetShare() != 0 {
			out["share"] = event.ShareText(r.GetShare())
		}
		if r.GetPersist() {
			out["persist"] = "true"
		}
		set("rule", r.GetRule())
		set("cgroup", r.GetCgroup())
		confirmed(r.GetConfirm(), r.GetForce())
	case *bailiffv1.ReloadPolicyRequest:
		confirmed(nil, r.GetForce())
	case *bailiffv1.ApplyPolicyRequest:
		set("bundle", r.GetName())
		confirmed(r.GetConfirm(), r.GetForce())
	case *bailiffv1.ConfirmRequest:
		out["revert"] = strconv.FormatBool(r.GetRevert())
	}
	return out
}
