package policy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/lower"
	"example.com/bailiff/rules"
)

//go:generate go test . -run TestRulesDoc -update

// TestRulesDoc keeps docs/rules.md equal to the annotations of the baseline;
// -update writes it.
func TestRulesDoc(t *testing.T) {
	const file = "../docs/rules.md"
	p, _, err := LoadFS(context.Background(), rules.FS, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	got := rulesDoc(t, p)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs from the annotations in rules/baseline (go generate ./policy writes it) %v", file, err)
	}
}

const rulesIntro = `# The baseline rules

<!-- Generated from the annotations in rules/baseline by go generate ./policy. -->

These rules are built in and used when no other bundle is named. In audit mode none of them blocks; in enforce mode those that
say *deny* do. To make an *alert* block, copy the bundle (` + "`rules/baseline`" + ` is a directory of plain Rego), write ` + "`deny contains`" + ` instead of
` + "`alert contains`" + `, and run ` + "`bailiff run --bundle DIR`" + `. To let one of your programs pass, add its path to the exceptions of the rule in
` + "`exceptions/data.json`" + `. Paths are those of Debian 12 and 13, with those of other distributions where they are known.

*kernel* rules are decided by kernel tables before the act. *prefiltered* ones read arguments or environment: the kernel picks the
programs, OPA reads the rest after the start, so they report and never block.

*Attacks* are the scripts that set a rule off for real in the tests, and innocent acts beside them that must not: in guests with
the LSM backend and natively with tracepoints, in enforce and in audit mode (` + "`make e2e E2E_RUN=TestAttacks`" + `).

That they deny nothing innocent is tried on a Debian 12 in a guest (` + "`TestGuestDay`" + `): systemd boots with the agent in enforce mode
before sysinit.target; then a package with account, unit, cron job and library configuration is installed, accounts are made and
changed, people log in by ssh, su, sudo and login, something is built, nginx serves under load and is reloaded, cron and its
nightly jobs run, logs are rotated, services restart, the package goes. Nothing is denied. Two alerts come, both of what an
administrator did by hand: authorized-keys-write (a key for somebody) and persistence-write (a file in /etc/cron.d).

What holds for all of them:

- A program that is a script acts as its interpreter: list the interpreter, or let the script run below something listed.
- Rules on opening see opens. A file that is written elsewhere and renamed or linked into place, removed, or truncated by
  its path is not seen: there are no hooks for that yet.
- With the tracepoint backend an open that truncates or creates is seen as a plain open for writing; a file that is truncated
  without being written to cannot be told (log-and-history-wipe is silent).
- An administrator's editor is no package manager. On machines that are administered by hand, read what the audit mode reports
  before switching to enforce. Ansible and cloud-init run as python, which is in no list: let them run in audit mode, or give
  them an interpreter of their own and list that in ` + "`data.config_management`" + `.
- A container is recognised by its pid namespace (` + "`data.host_pid_namespace`" + ` is that of every host).

`

const rulesMissing = `
# What is not there yet

Rules that a server baseline should have, and what is missing to write them so that they mean what they say.

| rule | what it would catch | what is missing |
| --- | --- | --- |
| shell-on-socket | a shell whose standard input or output is a socket (T1059.004) | a field that tells what descriptors 0 and 1 are |
| container-drift | a program in a container that is not from its image (T1105) | whether a file is in the upper layer of an overlay; a container flag that does not rest on the pid namespace |
| process-injection | attaching to a process of somebody else by ptrace (T1055.008) | a hook on ptrace |
| container-escape-tools, the socket | a container that talks to the socket of its runtime (T1610) | a hook on connect |
| module-load, the call | loading a module without kmod (T1547.006) | a hook on kernel_read_file and module loading |
| agent-tamper, signals | stopping or tracing the agent (T1562.001) | hooks on signals and ptrace |
| raw-memory-device, other names | a device node for /dev/mem under another name | the device number of a file |
| all rules on changed files | rename, link, unlink and truncate by path | hooks on these calls |
`

// TestPacksDoc keeps docs/packs.md equal to the annotations of the packs.
func TestPacksDoc(t *testing.T) {
	const file = "../docs/packs.md"
	var b bytes.Buffer
	b.WriteString(packsIntro)
	for _, name := range rules.Packs() {
		fsys, err := rules.Pack(name)
		if err != nil {
			t.Fatal(err)
		}
		a, _, err := Pack{Name: name, FS: fsys}.open()
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := a.Compile(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", name, packsAbout[name])
		for _, h := range event.Judged {
			hp := p.hooks[h]
			if hp == nil {
				continue
			}
			for i, r := range hp.rules {
				e := p.explain(h, &p.program.Rules[h][i])
				fmt.Fprintf(&b, "\n### %s\n\n**%s.** %s\n\n", e.Rule.ID, e.Rule.Title, description(t, p, r.Rego))
				fmt.Fprintf(&b, "%s on %s, %s, %s, %s · [%s](../rules/%s) · [attacks](../e2e/attacks/%s.txtar) · data: %s\n", e.Verdict, e.Hook, e.Class,
					e.Rule.Severity, strings.Join(e.Rule.Attack, ", "), e.Rule.File, e.Rule.File, e.Rule.ID, strings.Join(dataOf(p.src.Compiler, r.Rego), ", "))
			}
		}
		p.Close(context.Background())
	}
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s differs from the annotations in rules/packs (go generate ./policy writes it) %v", file, err)
	}
}

// packsAbout says for each pack who wants it.
var packsAbout = map[string]string{
	"containers": "For hosts whose containers are made elsewhere and only run here. A container is recognised by its pid namespace.",
	"lockdown": "For machines on which nothing new is to run. `bailiff pack lockdown --from dpkg` (or `rpm`) writes the list of what packages ship:\n\n" +
		"```\nbailiff pack lockdown --from dpkg --allow /opt/app/ > /etc/bailiff/lockdown.json\nbailiff run --pack lockdown=/etc/bailiff/lockdown.json\n```\n\n" +
		"Run it in audit mode first: what is `would-deny` then is a program of your own. After packages were installed make the list anew and run\n`bailiff reload`. Files are known by path; that their content is the package's own is what system-binary-tamper of the baseline sees to.",
	"miners": "For machines that earn nothing by themselves. Names are those of known miners; the other rules look at what miners do.",
	"recon":  "For servers on which nothing below a web or database server calls tools that tell about the machine.",
}

const packsIntro = `# Packs

<!-- Generated from the annotations in rules/packs by go generate ./policy. -->

Rules for some machines: off until they are named, then added to the embedded rules or to the bundle, whatever it is.

` + "```" + `
bailiff pack                                   # what there is
bailiff check --pack miners,containers         # what it would be
bailiff replay embedded --pack miners            # what it would have done to recorded acts
bailiff run --pack miners --pack containers=/etc/bailiff/containers.json
` + "```" + `

In the configuration: ` + "`packs: [miners, containers=/etc/bailiff/containers.json]`" + `. The revision in force names them: ` + "`baseline-2+miners-1bd49c7e`" + `.

What a pack reads is ` + "`data.packs.NAME`" + `. A bundle may say something there (` + "`packs/miners/data.json`" + ` in it): that goes before what the pack says, key by
key. A file that is named with the pack goes before both; it is a JSON object and is read at each reload:

` + "```json" + `
{"exceptions": {"exe": ["/usr/bin/pool-proxy"]}}
` + "```" + `

A list there takes the place of the pack's list. A key that no rule of the pack reads is an error, so a misspelt exception is none in silence.
Exceptions named in ` + "`exe`" + ` are programs that act, in ` + "`file`" + ` what is run or opened, in ` + "`below`" + ` whatever runs below those programs.
`

func rulesDoc(t *testing.T, p *Policy) []byte {
	var b bytes.Buffer
	b.WriteString(rulesIntro)
	b.WriteString("| rule | act | ships as | class | severity | ATT&CK |\n| --- | --- | --- | --- | --- | --- |\n")
	type section struct {
		rule      *rule
		explained ExplainedRule
	}
	var all []section
	for _, h := range event.Judged {
		hp := p.hooks[h]
		for i := range hp.rules {
			all = append(all, section{&hp.rules[i], p.explain(h, &p.program.Rules[h][i])})
		}
	}
	slices.SortStableFunc(all, func(x, y section) int { return strings.Compare(x.explained.Rule.ID, y.explained.Rule.ID) })
	for _, s := range all {
		e := s.explained
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s | %s | %s |\n", e.Rule.ID, e.Rule.ID, e.Hook, e.Verdict, e.Class, e.Rule.Severity, strings.Join(e.Rule.Attack, ", "))
	}
	for _, s := range all {
		e := s.explained
		fmt.Fprintf(&b, "\n## %s\n\n**%s.** %s\n\n", e.Rule.ID, e.Rule.Title, description(t, p, s.rule.Rego))
		fmt.Fprintf(&b, "%s on %s, %s", e.Verdict, e.Hook, e.Class)
		if e.Class == lower.ClassPrefiltered {
			fmt.Fprintf(&b, " (OPA reads %s)", strings.Join(e.Reads, ", "))
		}
		fmt.Fprintf(&b, " · [%s](../rules/baseline/%s) · [attacks](../e2e/attacks/%s.txtar) · data: %s\n", e.Rule.File, e.Rule.File, e.Rule.ID, strings.Join(dataOf(p.src.Compiler, s.rule.Rego), ", "))
	}
	b.WriteString(rulesMissing)
	return b.Bytes()
}

func description(t *testing.T, p *Policy, r *ast.Rule) string {
	for _, a := range p.src.Compiler.GetAnnotationSet().GetRuleScope(r) {
		if a.Description != "" {
			return strings.TrimSpace(a.Description)
		}
	}
	t.Errorf("%s: the rule has no description", r.Location)
	return ""
}

// dataOf lists the base documents that a rule reads, helpers included.
func dataOf(c *ast.Compiler, r *ast.Rule) []string {
	var out []string
	for _, ref := range baseRefs(c, r) {
		out = append(out, "`"+ref.String()+"`")
	}
	slices.Sort(out)
	return slices.Compact(out)
}
