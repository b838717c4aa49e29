package learn

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// nameOK is what a service's name may be made of.
var nameOK = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]*$`)

// CheckName says whether a service may be called so in a policy.
func CheckName(name string) error {
	if !nameOK.MatchString(name) {
		return fmt.Errorf("%q is not a name: a letter, then letters, digits, _ and -", name)
	}
	return nil
}

// CleanName makes a name out of a unit's or a cgroup's.
func CleanName(s string) string {
	for _, suffix := range []string{".service", ".scope", ".slice"} {
		s = strings.TrimSuffix(s, suffix)
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_', c >= '0' && c <= '9' && b.Len() > 0:
			b.WriteRune(c)
		case b.Len() > 0:
			b.WriteByte('-')
		}
	}
	if name := strings.Trim(b.String(), "-_"); CheckName(name) == nil {
		return name
	}
	return "service"
}

// Bundle returns the files of the proposal by name: rules, data, tests, and what
// is not sure.
func (p *Proposal) Bundle() (map[string][]byte, error) {
	data, err := json.MarshalIndent(map[string]any{"learned": map[string]any{p.key(): p.Data}}, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("write data: %w", err)
	}
	out := map[string][]byte{
		"data.json":      append(data, '\n'),
		"UNSURE.md":      []byte(p.unsure()),
		"exec.rego":      []byte(p.fill(execRule)),
		"exec_test.rego": []byte(p.fill(execTest)),
		"fork.rego":      []byte(p.fill(forkRule)),
		"fork_test.rego": []byte(p.fill(forkTest)),
	}
	if p.opens {
		out["open.rego"] = []byte(p.fill(openRule))
		out["open_test.rego"] = []byte(p.fill(openTest))
	}
	return out, nil
}

// key is the name as it stands below data.learned.
func (p *Proposal) key() string { return strings.ReplaceAll(p.Name, "-", "_") }

func (p *Proposal) fill(text string) string {
	of := ofPrograms
	if p.By == ByCgroup {
		of = ofCgroup
	}
	text = strings.ReplaceAll(text, "OF_SERVICE", of)
	text = strings.ReplaceAll(text, "NAME", p.Name)
	return strings.ReplaceAll(text, "KEY", p.key())
}

// What the rules say about who acts.
const (
	ofPrograms = `of_KEY if input.process.exe.path in data.learned.KEY.programs

of_KEY if {
	some above in input.process.ancestors
	above in data.learned.KEY.programs
}
`
	ofCgroup = `of_KEY if input.process.cgroup.path == data.learned.KEY.cgroup

of_KEY if startswith(input.process.cgroup.path, concat("", [data.learned.KEY.cgroup, "/"]))
`
)

const execRule = `package bailiff.exec

# METADATA
# title: NAME executes a program that is new for it
# description: |
#   Learned from recorded events: data.learned.KEY lists what the service
#   executes. See UNSURE.md before you enforce this.
# custom: {id: learned-NAME-exec, severity: medium}
deny contains {"message": message} if {
	of_KEY
	not KEY_executes
	message := sprintf("%s ran %s", [input.process.exe.path, input.file.path])
}

KEY_executes if input.file.path in data.learned.KEY.executables

KEY_executes if {
	some dir in data.learned.KEY.exec_below
	startswith(input.file.path, dir)
}

OF_SERVICE`

const openRule = `package bailiff.open

# METADATA
# title: NAME reads a file that is new for it
# description: Learned from recorded events, as data.learned.KEY lists them.
# custom: {id: learned-NAME-read, severity: low}
deny contains {"message": message} if {
	of_KEY
	not "write" in input.open.flags
	not KEY_reads
	not KEY_writes
	message := sprintf("%s read %s", [input.process.exe.path, input.file.path])
}

# METADATA
# title: NAME writes to a file that is new for it
# description: Learned from recorded events, as data.learned.KEY lists them.
# custom: {id: learned-NAME-write, severity: medium}
deny contains {"message": message} if {
	of_KEY
	"write" in input.open.flags
	not KEY_writes
	message := sprintf("%s wrote to %s", [input.process.exe.path, input.file.path])
}

KEY_reads if input.file.path in data.learned.KEY.read

KEY_reads if {
	some dir in data.learned.KEY.read_below
	startswith(input.file.path, dir)
}

KEY_writes if input.file.path in data.learned.KEY.write

KEY_writes if {
	some dir in data.learned.KEY.write_below
	startswith(input.file.path, dir)
}

OF_SERVICE`

const forkRule = `package bailiff.fork

# METADATA
# title: NAME has more processes than it ever had
# description: |
#   Twice as many as were seen at once, and at least 16; none if it was never
#   seen to fork.
# custom: {id: learned-NAME-fork, severity: low}
deny contains {"message": message} if {
	of_KEY
	input.process.cgroup.processes >= data.learned.KEY.processes
	message := sprintf("%s has %d processes", [input.process.cgroup.path, input.process.cgroup.processes])
}

OF_SERVICE`

// What the tests say about who acts; the data come from the bundle or are given.
const testActor = `learned := {
	"programs": ["/opt/service/main"],
	"cgroup": "/system.slice/main.service",
	"executables": ["/opt/service/main", "/usr/bin/true"],
	"exec_below": ["/opt/service/bin/"],
	"read": ["/etc/service.conf"],
	"read_below": ["/usr/share/service/"],
	"write": ["/var/log/service.log"],
	"write_below": ["/var/lib/service/"],
	"processes": 16,
}

process := {
	"exe": {"path": "/opt/service/main", "name": "main"},
	"parent": {"exe": {"path": "/sbin/init", "name": "init"}},
	"ancestors": ["/sbin/init"],
	"cgroup": {"path": "/system.slice/main.service", "id": 7, "processes": 4},
}

child := object.union(process, {
	"exe": {"path": "/usr/bin/true", "name": "true"},
	"ancestors": ["/opt/service/main", "/sbin/init"],
})

stranger := object.union(process, {
	"exe": {"path": "/usr/bin/other", "name": "other"},
	"cgroup": {"path": "/system.slice/other.service"},
})
`

const execTest = `package bailiff.exec_KEY_test

import data.bailiff.exec.deny

act(who, path) := {"process": who, "file": {"path": path}}

denied(document) if count(deny) > 0 with input as document
	with data.learned.KEY as learned

test_known_program if not denied(act(process, "/usr/bin/true"))

test_known_directory if not denied(act(child, "/opt/service/bin/tool"))

test_new_program if denied(act(process, "/usr/bin/nc"))

test_new_program_of_a_child if denied(act(child, "/tmp/x"))

test_others_are_not_concerned if not denied(act(stranger, "/usr/bin/nc"))

` + testActor

const openTest = `package bailiff.open_KEY_test

import data.bailiff.open.deny

act(who, path, flags) := {"process": who, "file": {"path": path}, "open": {"flags": flags}}

denied(document) if count(deny) > 0 with input as document
	with data.learned.KEY as learned

test_known_file if not denied(act(process, "/etc/service.conf", ["read"]))

test_known_directory if not denied(act(child, "/usr/share/service/a/b", ["read"]))

test_what_is_written_may_be_read if not denied(act(child, "/var/lib/service/db", ["read"]))

test_known_log if not denied(act(process, "/var/log/service.log", ["write", "append"]))

test_new_file if denied(act(process, "/etc/shadow", ["read"]))

test_what_is_read_may_not_be_written if denied(act(process, "/etc/service.conf", ["read", "write"]))

test_others_are_not_concerned if not denied(act(stranger, "/etc/shadow", ["read"]))

` + testActor

const forkTest = `package bailiff.fork_KEY_test

import data.bailiff.fork.deny

act(who, processes) := {"process": object.union(who, {"cgroup": {"processes": processes}})}

denied(document) if count(deny) > 0 with input as document
	with data.learned.KEY as learned

test_as_before if not denied(act(process, 15))

test_too_many if denied(act(child, 16))

test_others_are_not_concerned if not denied(act(stranger, 99))

` + testActor

func (p *Proposal) unsure() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What is not sure about the policy of %s\n\n", p.Name)
	fmt.Fprintf(&b, "Made of %d recorded acts, from %s to %s.\n", p.Acts, p.First.UTC().Format("2006-01-02 15:04:05"), p.Last.UTC().Format("2006-01-02 15:04:05 MST"))
	last := ""
	for _, d := range p.Doubts {
		if d.Code != last {
			fmt.Fprintf(&b, "\n## %s\n\n", d.Code)
			last = d.Code
		}
		if d.What == "" {
			fmt.Fprintf(&b, "- %s\n", d.Why)
			continue
		}
		fmt.Fprintf(&b, "- `%s`: %s\n", strings.ReplaceAll(d.What, "`", "'"), d.Why)
	}
	return b.String()
}
