// Package rollout holds what makes a change safe to try: modes that outlast a
// restart, and probation, in which a change goes back by itself unless it is
// confirmed.
package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"example.com/bailiff/internal/event"
)

// Kept are the modes that the operator wants to outlast a restart, in a file.
// Its methods are safe for concurrent use.
type Kept struct {
	path string
	mu   sync.Mutex
	set  keptModes
}

// keptModes is the file.
type keptModes struct {
	All     *event.Mode           `json:"all,omitempty"` // nil: what the configuration says
	Share   uint32                `json:"share,omitempty"`
	Rules   map[string]event.Mode `json:"rules,omitempty"`
	Cgroups map[string]event.Mode `json:"cgroups,omitempty"`
}

// OpenKept reads the file, which need not exist. On an error the result is
// usable and empty: the next Put writes the file anew.
func OpenKept(path string) (*Kept, error) {
	k := &Kept{path: path}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, fmt.Errorf("read kept modes: %w", err)
	}
	var set keptModes
	if err := json.Unmarshal(b, &set); err != nil {
		return k, fmt.Errorf("read kept modes: %s: %w", path, err)
	}
	k.set = set
	return k, nil
}

// Target is what a mode is of: all when both are empty.
type Target struct{ Rule, Cgroup string }

// String names the target as people read it.
func (t Target) String() string {
	switch {
	case t.Rule != "":
		return "rule " + t.Rule
	case t.Cgroup != "":
		return "cgroup " + t.Cgroup
	}
	return "all"
}

// Setting is the mode of one target; nil says that it has none of its own.
type Setting struct {
	Mode  *event.Mode
	Share uint32 // of all
}

// Get returns what the target has in m.
func (t Target) Get(m event.Modes) Setting {
	var mode event.Mode
	var ok bool
	switch {
	case t.Rule != "":
		mode, ok = m.Rules[t.Rule]
	case t.Cgroup != "":
		mode, ok = m.Cgroups[t.Cgroup]
	default:
		return Setting{Mode: &m.All, Share: m.Share}
	}
	if !ok {
		return Setting{}
	}
	return Setting{Mode: &mode}
}

// Set puts a setting into m, whose maps must not be nil. All always has a mode.
func (t Target) Set(m *event.Modes, s Setting) {
	set := m.Cgroups
	switch {
	case t.Rule != "":
		set = m.Rules
	case t.Cgroup == "":
		if s.Mode != nil {
			m.All, m.Share = *s.Mode, s.Share
		}
		return
	}
	name := t.Rule + t.Cgroup
	if s.Mode == nil {
		delete(set, name)
		return
	}
	set[name] = *s.Mode
}

// Into lays what is kept over the modes of the configuration.
func (k *Kept) Into(m event.Modes) event.Modes {
	k.mu.Lock()
	defer k.mu.Unlock()
	m = m.Clone()
	if k.set.All != nil {
		m.All, m.Share = *k.set.All, k.set.Share
	}
	maps.Copy(m.Rules, k.set.Rules)
	maps.Copy(m.Cgroups, k.set.Cgroups)
	return m
}

// Names lists the targets that are kept, sorted.
func (k *Kept) Names() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := []string{}
	if k.set.All != nil {
		out = append(out, Target{}.String())
	}
	for id := range k.set.Rules {
		out = append(out, Target{Rule: id}.String())
	}
	for path := range k.set.Cgroups {
		out = append(out, Target{Cgroup: path}.String())
	}
	slices.Sort(out)
	return out
}

// Put writes one setting to the file; on an error the former ones stay there.
func (k *Kept) Put(t Target, s Setting) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := keptModes{All: k.set.All, Share: k.set.Share, Rules: maps.Clone(k.set.Rules), Cgroups: maps.Clone(k.set.Cgroups)}
	if t == (Target{}) {
		next.All, next.Share = s.Mode, s.Share
	} else {
		m := event.Modes{Rules: next.Rules, Cgroups: next.Cgroups}.Clone()
		t.Set(&m, s)
		next.Rules, next.Cgroups = m.Rules, m.Cgroups
	}
	b, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return fmt.Errorf("keep modes: %w", err)
	}
	if err := WriteFile(k.path, append(b, '\n')); err != nil {
		return fmt.Errorf("keep modes: %w", err)
	}
	k.set = next
	return nil
}

// WriteFile replaces a file whole or not at all, also if the machine goes down,
// and makes its directory (0700) if need be.
func WriteFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already if all went well
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
