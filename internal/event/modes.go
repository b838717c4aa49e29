package event

import (
	"maps"
	"strconv"
	"strings"
)

// ModeBy is who said which mode holds for an act.
type ModeBy uint8

// The values are wire values: bpf/wire.h has the same numbers (BY_*).
const (
	ByAll    ModeBy = iota // the mode for all
	ByRule                 // the rule's own
	ByCgroup               // the cgroup's own, or that of one above it
	ByShare                // the mode for all, which enforces in a share of the cgroups
)

var modeByNames = []string{"", "rule", "cgroup", "share"}

func (b ModeBy) String() string                { return nameOf(modeByNames, b) }
func (b ModeBy) MarshalText() ([]byte, error)  { return []byte(b.String()), nil }
func (b *ModeBy) UnmarshalText(t []byte) error { return parse(modeByNames, t, b) }

// ShareAll is the share that is everything: shares are parts of 65536.
const ShareAll = 1 << 16

// Modes says where deny verdicts block. The zero value is audit everywhere.
//
// A rule and a cgroup may have modes of their own. Where one of them has, it
// goes before the mode for all; where both have, audit wins. The deepest cgroup
// that has one speaks for those below it.
type Modes struct {
	All     Mode            `json:"all"`
	Share   uint32          `json:"share,omitempty"`   // with All enforce: parts of 65536 of the cgroups that enforce; 0 is all
	Rules   map[string]Mode `json:"rules,omitempty"`   // by rule id
	Cgroups map[string]Mode `json:"cgroups,omitempty"` // by path below the cgroup2 mount
}

// Clone returns a copy that shares nothing; its maps are never nil.
func (m Modes) Clone() Modes {
	m.Rules, m.Cgroups = maps.Clone(m.Rules), maps.Clone(m.Cgroups)
	if m.Rules == nil {
		m.Rules = map[string]Mode{}
	}
	if m.Cgroups == nil {
		m.Cgroups = map[string]Mode{}
	}
	return m
}

// Word is the mode for all as the kernel has it: how many parts of ShareAll
// enforce.
func (m Modes) Word() uint32 {
	switch {
	case m.All == ModeAudit:
		return 0
	case m.Share == 0 || m.Share > ShareAll:
		return ShareAll
	}
	return m.Share
}

// Enforces reports whether any act may be blocked.
func (m Modes) Enforces() bool {
	for _, set := range []map[string]Mode{m.Rules, m.Cgroups} {
		for _, mode := range set {
			if mode == ModeEnforce {
				return true
			}
		}
	}
	return m.All == ModeEnforce
}

// Here is the definition of what holds for a rule that fired in a cgroup; audit
// is the rule's annotation. The kernel must agree.
func (m Modes) Here(rule string, audit bool, cgroup string) (Mode, ModeBy) {
	own, owns := m.Rules[rule]
	if !owns && audit {
		own, owns = ModeAudit, true
	}
	if owns && own == ModeAudit {
		return ModeAudit, ByRule
	}
	at, found := m.cgroup(cgroup)
	switch {
	case found && (!owns || at == ModeAudit):
		return at, ByCgroup
	case owns:
		return own, ByRule
	}
	switch w := m.Word(); {
	case w == 0:
		return ModeAudit, ByAll
	case w == ShareAll:
		return ModeEnforce, ByAll
	case PlaceInShare(cgroup) < w:
		return ModeEnforce, ByShare
	}
	return ModeAudit, ByShare
}

func (m Modes) cgroup(path string) (Mode, bool) {
	for path != "" && path != "/" {
		if mode, ok := m.Cgroups[path]; ok {
			return mode, true
		}
		path = path[:strings.LastIndexByte(path, '/')]
	}
	return ModeAudit, false
}

// PlaceInShare is where a cgroup stands among all, from 0 to ShareAll-1: a
// stable hash of its path, so the same on each machine and after each restart.
// A share of n takes those that stand before n; a larger share takes more and
// drops none. What is below a service or a scope stands where that does.
func PlaceInShare(cgroup string) uint32 {
	hash := uint64(0xcbf29ce484222325)
	add := func(s string) {
		for i := range len(s) {
			hash = (hash ^ uint64(s[i])) * 0x100000001b3
		}
	}
	for part := range strings.SplitSeq(strings.Trim(cgroup, "/"), "/") {
		if part == "" {
			break
		}
		add("/")
		add(part)
		if strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
			break
		}
	}
	hash = (hash ^ hash>>32) * 0x9e3779b97f4a7c15
	return uint32((hash ^ hash>>32) & (ShareAll - 1))
}

// UnitOf is what a cgroup belongs to, as services are counted: the service or
// scope, or the user with all sessions; else it is its own. "" if not known.
func UnitOf(cgroup string) string {
	end := 0
	for part := range strings.SplitSeq(strings.TrimPrefix(cgroup, "/"), "/") {
		end += 1 + len(part)
		if strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") ||
			strings.HasPrefix(part, "user-") && strings.HasSuffix(part, ".slice") {
			return cgroup[:end]
		}
	}
	return cgroup
}

// ShareText writes a share as people give it: "10%".
func ShareText(share uint32) string {
	if share == 0 || share > ShareAll {
		share = ShareAll
	}
	if share < ShareAll/10000 {
		return "less than 0.01%"
	}
	return strconv.FormatFloat(float64(int(float64(share)*10000/ShareAll+0.5))/100, 'f', -1, 64) + "%"
}
