package server

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// DecodeStatus turns a status of the wire into ours, for clients.
func DecodeStatus(p *bailiffv1.StatusResponse) Status {
	s := Status{
		Version: p.GetVersion(), BootID: p.GetBootId(), RunID: p.GetRunId(), PID: int(p.GetPid()), Started: unstamp(p.GetStarted()),
		Backend: p.GetBackend(), Mode: DecodeMode(p.GetMode()), Scope: p.GetScope(), Rescue: p.GetRescue(),
		Revision: p.GetRevision(), Generation: p.GetGeneration(), PolicySource: p.GetPolicySource(), PolicyLoaded: unstamp(p.GetPolicyLoaded()),
		RuleClasses: p.GetRuleClasses(), Counters: p.GetCounters(), Conditions: []Condition{},
		Subscribers: p.GetSubscribers(), LastSeq: p.GetLastSeq(), Kept: p.GetKeptModes(), Probation: DecodeProbation(p.GetProbation()),
	}
	s.Modes = event.Modes{All: s.Mode, Share: p.GetShare(), Rules: decodeModes(p.GetRuleModes()), Cgroups: decodeModes(p.GetCgroupModes())}
	decodeVitals(&s, p)
	for _, c := range p.GetConditions() {
		s.Conditions = append(s.Conditions, Condition{
			Code: c.GetCode(), Text: c.GetText(), Since: unstamp(c.GetSince()), Severity: c.GetSeverity(), Remedy: c.GetRemedy(),
		})
	}
	return s
}

// DecodePolicy turns a policy of the wire into ours, for clients.
func DecodePolicy(p *bailiffv1.PolicyResponse) Policy {
	out := Policy{Revision: p.GetRevision(), Generation: p.GetGeneration(), Source: p.GetSource(), Loaded: unstamp(p.GetLoaded()), Rules: []Rule{}}
	for _, r := range p.GetRules() {
		rule := Rule{
			Ref: DecodeRef(r.GetRef()), Hook: decodeHook(r.GetHook()), Verdict: decodeVerdict(r.GetVerdict()), Audit: r.GetAudit(),
			Class: r.GetClass(), Undecided: r.GetUndecided(), Response: r.GetResponse(),
		}
		for _, why := range r.GetReasons() {
			rule.Reasons = append(rule.Reasons, Reason{
				Code: why.GetCode(), File: why.GetFile(), Line: int(why.GetLine()), Why: why.GetWhy(), Hint: why.GetHint(),
			})
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

func unstamp(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
