package server

import (
	"context"
	"time"

	"example.com/bailiff/internal/event"
)

// Agent is what the server needs of the rest of the agent. Its methods may be
// called from many goroutines at once.
type Agent interface {
	Recorder
	// Raise and Clear begin and end a condition.
	Raise(code, text string)
	Clear(code string)
	Status() Status
	Policy() Policy
	// SetMode changes a mode; by says who asked, for the records.
	SetMode(ctx context.Context, c ModeChange, by string) (ModeChanged, error)
	// ReloadPolicy reads the bundle again. On an error the policy in force stays.
	ReloadPolicy(ctx context.Context, r Reload, by string) error
	// ApplyPolicy puts a bundle in force that an operator sends; errors as for
	// ReloadPolicy.
	ApplyPolicy(ctx context.Context, a Apply, by string) error
	// Confirm ends the probation of the last change: it stays, or goes back.
	Confirm(ctx context.Context, revert bool, by string) (Probation, error)
}

// Recorder puts a notice into the event stream.
type Recorder interface{ Record(n event.Notice) }

// Codes of the notices that the server records (event.Notice.Code).
const (
	// NoticeOperatorCall: somebody called what is for operators. Fields by,
	// role, from, method, arguments, result, error, and what proves who it was.
	NoticeOperatorCall = "operator-call"
	// NoticeCallRefused: somebody without the right called; the same fields,
	// and refused_before: how many were not recorded since the last one.
	NoticeCallRefused = "call-refused"
	// NoticeCertificates: the TCP listener uses other certificates.
	NoticeCertificates = "certificates-replaced"
)

// Status is the state of the agent.
type Status struct {
	Version string    `json:"version"`
	BootID  string    `json:"boot_id"` // /proc/sys/kernel/random/boot_id
	RunID   string    `json:"run_id"`  // of this run; sequence numbers belong to it
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`

	Backend string      `json:"backend"` // lsm, modify-return, tracepoint
	Mode    event.Mode  `json:"mode"`    // for all, as in Modes
	Modes   event.Modes `json:"modes"`
	Kept    []string    `json:"kept_modes"` // which of Modes outlast a restart: "all", "rule ID", "cgroup PATH"
	Scope   []string    `json:"scope"`      // cgroup directories; empty: the whole machine
	Rescue  []string    `json:"rescue"`     // programs that are never denied

	Revision     string            `json:"revision"`
	Generation   uint32            `json:"generation"`
	PolicySource string            `json:"policy_source"` // where the bundle comes from
	PolicyLoaded time.Time         `json:"policy_loaded"`
	RuleClasses  map[string]uint32 `json:"rule_classes"` // class -> number of rules

	Probation   *Probation        `json:"probation,omitempty"`
	Counters    map[string]uint64 `json:"counters"` // since the agent started
	Conditions  []Condition       `json:"conditions"`
	Subscribers uint32            `json:"subscribers"` // set by the server
	LastSeq     uint64            `json:"last_seq"`    // set by the server

	Canary *Canary     `json:"canary,omitempty"` // nil: off
	Ring   Ring        `json:"ring"`
	Spool  *SpoolState `json:"spool,omitempty"` // nil: none
}

// Condition is a declared way of being unwell.
type Condition struct {
	Code     string    `json:"code"`
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
	Severity string    `json:"severity"` // high, medium, low
	Remedy   string    `json:"remedy"`
}

// Policy is the policy in force.
type Policy struct {
	Revision   string    `json:"revision"`
	Generation uint32    `json:"generation"`
	Source     string    `json:"source"` // where the bundle comes from
	Loaded     time.Time `json:"loaded"`
	Rules      []Rule    `json:"rules"` // in the order in which they win
}

// Rule is one Rego rule and the way in which it is decided.
type Rule struct {
	Ref       event.RuleRef `json:"rule"`
	Hook      event.Hook    `json:"hook"`
	Verdict   event.Verdict `json:"verdict"`
	Audit     bool          `json:"audit,omitempty"` // never blocks
	Class     string        `json:"class"`           // as `bailiff explain` names it
	Reasons   []Reason      `json:"reasons,omitempty"`
	Undecided string        `json:"undecided"` // what happens while it has no verdict
	Response  string        `json:"response"`  // refuse or kill
}

// Reason says why a part of a rule is not decided by kernel tables.
type Reason struct {
	Code string `json:"code"` // a heading of docs/lowering.md
	File string `json:"file"` // within the bundle
	Line int    `json:"line"`
	Why  string `json:"why"`
	Hint string `json:"hint,omitempty"`
}
