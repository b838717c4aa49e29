package enforcer

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Severity says how much of the protection a condition takes away.
type Severity string

// The severities, worst first.
const (
	SeverityHigh   Severity = "high"   // acts may pass that the policy forbids
	SeverityMedium Severity = "medium" // acts may go unreported, or are judged late
	SeverityLow    Severity = "low"    // protection is whole, something else is wrong
)

// Codes of the declared conditions.
const (
	CondPolicyStale        = "policy-stale"
	CondDivergence         = "divergence"
	CondEventsDropped      = "events-dropped"
	CondFailOpen           = "fail-open"
	CondNotRemembered      = "verdicts-not-remembered"
	CondTablesNotFreed     = "tables-not-freed"
	CondCountersUnread     = "counters-unreadable"
	CondLateKillFailed     = "late-kill-failed"
	CondBackendLimited     = "backend-limited"
	CondHookSilent         = "hook-silent"
	CondSinkFailing        = "sink-failing"
	CondSpoolFailing       = "spool-failing"
	CondDecisionLogFailing = "decision-log-failing"
	CondCanaryUnseen       = "canary-unseen"
	CondCanaryUndelivered  = "canary-undelivered"
	CondCanaryUndone       = "canary-undone"
	CondCertificates       = "certificates-stale"
	CondCertExpires        = "certificate-expires"

	CondPolicyFallback    = "policy-fallback"
	CondPolicyUnreachable = "policy-unreachable"
	CondPolicyNotKept     = "policy-not-kept"
	CondProbationStuck    = "probation-stuck"
	CondLockout           = "lock-out"
	CondEnforceWithheld   = "enforce-withheld"
	CondSteppedDown       = "rule-stepped-down"
	CondModesNotKept      = "modes-not-kept"

	CondGateOpen    = "gate-open"
	CondGateLimited = "gate-limited"
)

// Condition is a way of being unwell, as Status reports it.
type Condition struct {
	Code     string    `json:"code"`
	Severity Severity  `json:"severity"`
	Since    time.Time `json:"since"` // when it was raised
	Text     string    `json:"text"`  // what is the matter this time
	Remedy   string    `json:"remedy"`
}

// declaredConditions is the one list of conditions: raising another code is a
// mistake that Raise reports.
var declaredConditions = []Condition{
	{Code: CondPolicyStale, Severity: SeverityHigh,
		Remedy: "Correct the bundle (bailiff check), or put the former one back; the policy that was in force still is."},
	{Code: CondPolicyFallback, Severity: SeverityHigh,
		Remedy: "The configured bundle, or the data of a pack, could not be used at the start and none was kept: the embedded rules only report. Make it reachable and good (bailiff check): it then comes into force by itself, in the configured mode. After a change of a pack's data say bailiff reload."},
	{Code: CondPolicyUnreachable, Severity: SeverityMedium,
		Remedy: "The bundle's server does not answer as it should, so changes of the policy do not arrive; the policy in force stays. Check address, certificate and credentials. It is tried again by itself."},
	{Code: CondPolicyNotKept, Severity: SeverityLow,
		Remedy: "The bundle in force could not be written to disk: the next start needs the network. Make room, or make the directory writable (policy.state)."},
	{Code: CondDivergence, Severity: SeverityHigh,
		Remedy: "Kernel tables and policy gave different answers. Report it with the event and the bundle; the rule that it names is not to be trusted until then."},
	{Code: CondFailOpen, Severity: SeverityHigh,
		Remedy: "Acts passed because nobody could judge them in time. See the reasons in the counters; simplify the deferred rules (bailiff explain) or mark them undecided: deny."},
	{Code: CondHookSilent, Severity: SeverityHigh,
		Remedy: "A hook was attached but does not fire. Restart the agent; choose another backend if it stays."},
	{Code: CondGateOpen, Severity: SeverityHigh,
		Remedy: "The policy did not answer in time about several execs in a row, so for a while no exec waits and each gets what its rule declares (deadline: allow or deny). Simplify the held rules (bailiff explain), or give the agent more processor time."},
	{Code: CondGateLimited, Severity: SeverityHigh,
		Remedy: "Execs cannot be held everywhere. On what the text names, rules that ask for it are decided as if the answer had not come in time."},
	{Code: CondCanaryUnseen, Severity: SeverityHigh,
		Remedy: "The agent executes itself from time to time, and this time no event of it came from the kernel: acts may pass unjudged and untold. Restart the agent; if it stays, see bailiff doctor."},
	{Code: CondCanaryUndelivered, Severity: SeverityMedium,
		Remedy: "Acts are judged, but events do not come out: see the condition of the spool, and what it says about the disk. If there is none, restart the agent."},
	{Code: CondBackendLimited, Severity: SeverityHigh,
		Remedy: "This backend cannot refuse everything that the policy denies. See bailiff doctor for what a better one needs."},
	{Code: CondProbationStuck, Severity: SeverityHigh,
		Remedy: "A change on probation neither stayed nor went back as it should. See the text for what is in force, and set it by hand (bailiff mode, bailiff apply)."},
	{Code: CondEnforceWithheld, Severity: SeverityHigh,
		Remedy: "Except the named program in the rule, or put the rule into audit mode (bailiff mode audit --rule ID): the configured mode then comes into force by itself. Or insist: bailiff mode enforce --force."},
	{Code: CondSteppedDown, Severity: SeverityHigh,
		Remedy: "A rule denied many programs at once and was put into audit mode. See its denials (bailiff events --rule ID); correct it, then restore it: bailiff mode default --rule ID."},
	{Code: CondModesNotKept, Severity: SeverityMedium,
		Remedy: "The modes that were to outlast a restart could not be read: the configuration's are in force. Set them again with --persist."},
	{Code: CondEventsDropped, Severity: SeverityMedium,
		Remedy: "Events were lost, verdicts were not. Enlarge the ring buffer, or narrow the rules that report most."},
	{Code: CondNotRemembered, Severity: SeverityMedium,
		Remedy: "Verdicts of deferred rules cannot be put into the kernel, so each act is judged after it happened. See the log for the kernel's error."},
	{Code: CondLateKillFailed, Severity: SeverityMedium,
		Remedy: "A process that a late verdict condemned could not be killed. See the log; the agent needs CAP_KILL."},
	{Code: CondCountersUnread, Severity: SeverityMedium,
		Remedy: "Losses in the kernel cannot be counted at present. See the log for the kernel's error."},
	{Code: CondSinkFailing, Severity: SeverityMedium,
		Remedy: "A way out for events does not take them. Check its destination."},
	{Code: CondDecisionLogFailing, Severity: SeverityMedium,
		Remedy: "look at decision_logs.file and decision_logs.url: disk, permissions, the service; decisions are queued while there is room, then dropped and counted"},
	{Code: CondSpoolFailing, Severity: SeverityMedium,
		Remedy: "Events are not kept on disk and are counted as lost; verdicts and the live stream go on. See the text for the error: make room, or make the directory writable. It is tried again each second."},
	{Code: CondCertificates, Severity: SeverityMedium,
		Remedy: "New certificate files cannot be used; those from before are, until they end. See the text for what is wrong with them."},
	{Code: CondCertExpires, Severity: SeverityMedium,
		Remedy: "Renew the agent's certificate (listen.cert, listen.key): when it has ended no client connects any more. The new files are taken up while the agent runs."},
	{Code: CondLockout, Severity: SeverityLow,
		Remedy: "Nothing is denied yet. Before you switch to enforce: except the named program in the rule, or put the rule into audit mode (bailiff mode audit --rule ID)."},
	{Code: CondCanaryUndone, Severity: SeverityLow,
		Remedy: "The agent cannot execute itself to see whether it is told, so nobody knows whether all is well. See the text for why: processes, memory, a cgroup that is gone."},
	{Code: CondTablesNotFreed, Severity: SeverityLow,
		Remedy: "Tables of a former policy still take kernel memory. They are freed at the next try or when the agent stops."},
}

// Declared returns every condition that there is, not raised.
func Declared() []Condition { return slices.Clone(declaredConditions) }

// health holds the conditions that are raised.
type health struct {
	mu     sync.Mutex
	raised map[string]Condition
}

func newHealth() *health { return &health{raised: map[string]Condition{}} }

// Raise reports a declared condition. If it is raised already only its text
// changes. The stream is told when it begins.
func (e *Enforcer) Raise(code, text string) {
	i := slices.IndexFunc(declaredConditions, func(c Condition) bool { return c.Code == code })
	if i < 0 {
		e.log.Error("condition is not declared", "code", code, "text", text)
		return
	}
	c := declaredConditions[i]
	c.Since, c.Text = e.Now(), text

	e.health.mu.Lock()
	defer e.health.mu.Unlock()
	old, again := e.health.raised[code]
	if again {
		c.Since = old.Since
	}
	e.health.raised[code] = c
	if again {
		return
	}
	e.log.Warn("condition raised", "code", code, "severity", string(c.Severity), "text", text)
	e.notice(NoticeConditionRaised, text, map[string]string{
		"code": code, "severity": string(c.Severity), "remedy": c.Remedy})
}

// Clear ends a condition; nothing happens if it is not raised. The stream is
// told.
func (e *Enforcer) Clear(code string) {
	e.health.mu.Lock()
	defer e.health.mu.Unlock()
	c, ok := e.health.raised[code]
	if !ok {
		return
	}
	delete(e.health.raised, code)
	e.log.Info("condition cleared", "code", code)
	e.notice(NoticeConditionCleared, c.Text, map[string]string{
		"code": code, "severity": string(c.Severity), "lasted": e.Now().Sub(c.Since).String()})
}

// Conditions returns what is raised, by code.
func (e *Enforcer) Conditions() []Condition {
	e.health.mu.Lock()
	defer e.health.mu.Unlock()
	out := make([]Condition, 0, len(e.health.raised))
	for _, c := range e.health.raised {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Condition) int { return strings.Compare(a.Code, b.Code) })
	return out
}
