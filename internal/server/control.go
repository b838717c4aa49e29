package server

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// agentService implements bailiff.v1.AgentService. Who may call what is the
// guard's business.
type agentService struct {
	bailiffv1.UnimplementedAgentServiceServer
	agent Agent
	hub   *Hub
}

func (s *agentService) Status(context.Context, *bailiffv1.StatusRequest) (*bailiffv1.StatusResponse, error) {
	st := s.agent.Status()
	out := &bailiffv1.StatusResponse{
		Version: st.Version, BootId: st.BootID, RunId: st.RunID, Pid: int32(st.PID), Started: stamp(st.Started),
		Backend: st.Backend, Mode: EncodeMode(st.Mode), Scope: utf8All(st.Scope), Rescue: utf8All(st.Rescue),
		Revision: st.Revision, Generation: st.Generation, PolicySource: utf8Of(st.PolicySource), PolicyLoaded: stamp(st.PolicyLoaded),
		RuleClasses: st.RuleClasses, Counters: map[string]uint64{},
		Subscribers: uint32(s.hub.Subscribers()), LastSeq: s.hub.LastSeq(),
		Share: st.Modes.Share, RuleModes: encodeModes(st.Modes.Rules), CgroupModes: encodeModes(st.Modes.Cgroups),
		KeptModes: utf8All(st.Kept), Probation: encodeProbation(st.Probation),
	}
	maps.Copy(out.Counters, st.Counters)
	maps.Copy(out.Counters, s.hub.Counters())
	encodeVitals(out, &st)
	for _, c := range st.Conditions {
		out.Conditions = append(out.Conditions, &bailiffv1.Condition{
			Code: c.Code, Text: utf8Of(c.Text), Since: stamp(c.Since), Severity: c.Severity, Remedy: c.Remedy,
		})
	}
	return out, nil
}

func (s *agentService) Policy(context.Context, *bailiffv1.PolicyRequest) (*bailiffv1.PolicyResponse, error) {
	p := s.agent.Policy()
	out := &bailiffv1.PolicyResponse{
		Revision: p.Revision, Generation: p.Generation, Source: utf8Of(p.Source), Loaded: stamp(p.Loaded),
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		w := &bailiffv1.Rule{
			Ref: encodeRef(&r.Ref), Hook: EncodeHook(r.Hook), Verdict: EncodeVerdict(r.Verdict), Audit: r.Audit,
			Class: r.Class, Undecided: r.Undecided, Response: r.Response,
		}
		for _, why := range r.Reasons {
			w.Reasons = append(w.Reasons, &bailiffv1.Reason{
				Code: why.Code, File: utf8Of(why.File), Line: int32(why.Line), Why: utf8Of(why.Why), Hint: utf8Of(why.Hint),
			})
		}
		out.Rules = append(out.Rules, w)
	}
	return out, nil
}

func (s *agentService) ReloadPolicy(ctx context.Context, r *bailiffv1.ReloadPolicyRequest) (*bailiffv1.ReloadPolicyResponse, error) {
	previous := s.agent.Status().Revision
	if err := s.agent.ReloadPolicy(ctx, Reload{AllowRollback: r.GetAllowRollback(), Force: r.GetForce()}, callerOf(ctx).name); err != nil {
		return nil, refused(err)
	}
	st := s.agent.Status()
	return &bailiffv1.ReloadPolicyResponse{PreviousRevision: previous, Revision: st.Revision, Generation: st.Generation}, nil
}

// Detailed is an error that can be shown to a person with place, mark and hint,
// in several lines.
type Detailed interface{ Detail() string }

// maxDetail bounds what a status carries beside its message, in bytes: it
// travels as a header, for which clients keep little room.
const maxDetail = 3 << 10

// refused says that the agent would not: nothing has changed. What the error has
// to say to a person goes along (google.rpc.LocalizedMessage).
func refused(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	s := status.New(codes.FailedPrecondition, utf8Of(err.Error()))
	var d Detailed
	if !errors.As(err, &d) {
		return s.Err()
	}
	text := utf8Of(d.Detail())
	if len(text) > maxDetail {
		cut := strings.LastIndexByte(text[:maxDetail], '\n') + 1
		text = text[:cut] + "and more\n"
	}
	if with, werr := s.WithDetails(&errdetails.LocalizedMessage{Locale: "en", Message: text}); werr == nil {
		s = with
	}
	return s.Err()
}

// DetailOf is what a refusal has to say to a person, "" if it is no more than
// its message.
func DetailOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if m, ok := d.(*errdetails.LocalizedMessage); ok {
			return m.GetMessage()
		}
	}
	return ""
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func utf8Of(s string) string { s, _ = escape(s); return s }

func utf8All(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = utf8Of(s)
	}
	return out
}
