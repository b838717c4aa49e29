package policy

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/rules"
)

//go:generate go test . -run "TestRulesDoc|TestPacksDoc|TestRulePages" -update

// TestRulesDoc keeps docs/rules.md, the index of the baseline, equal to its
// annotations; -update writes it.
func TestRulesDoc(t *testing.T) {
	s := loadShipped(t, rules.FS, "")
	defer s.p.Close(context.Background())
	same(t, "../docs/rules.md", rulesIntro+s.index()+rulesMissing)
}

// same compares a generated page with what is there.
func same(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s differs from the rules (go generate ./policy writes it) %v", file, err)
	}
}

// index is a table of rules, each with its page.
func (s *shippedRules) index() string {
	var b strings.Builder
	b.WriteString("| rule | what | act | ships as | class | severity | ATT&CK |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range s.rules {
		e := r.e
		fmt.Fprintf(&b, "| [%s](rules/%s.md) | %s | %s | %s | %s | %s | %s |\n", e.Rule.ID, e.Rule.ID, e.Rule.Title, e.Hook, e.Verdict, e.Class, e.Rule.Severity,
			strings.Join(e.Rule.Attack, ", "))
	}
	return b.String()
}

const rulesIntro = `# The baseline rules

<!-- Generated from the annotations in rules/baseline by go generate ./policy. -->

These rules are built in and used when no other bundle is named. The name of each leads to its page: what it catches, its exceptions with an
entry to paste, what sets it off, its tests. In audit mode none of them blocks; in enforce mode those that
say *deny* do. ` + "`bailiff init policy --baseline DIR`" + ` writes them into a directory, as plain Rego with tests, for
` + "`bailiff run --bundle DIR`" + `: to let one of your programs pass, add its path to the exceptions of the rule in ` + "`exceptions/data.json`" + `
(` + "`bailiff report`" + ` proposes entries); to make an *alert* block, write ` + "`deny contains`" + ` instead of ` + "`alert contains`" + `.
Paths are those of Debian 12 and 13, with those of other distributions where they are known.

*kernel* rules are decided by kernel tables before the act. *commit* ones read arguments or
environment too: the kernel decides them when the new program is in place, before its first instruction. *prefiltered* ones make
tests of arguments that the kernel does not (regular expressions): it picks the programs, OPA reads the rest after the start, so they
report and never block.

Each rule has scripts that set it off for real in the tests, and innocent acts beside them that must not: in guests with
the LSM backend and natively with tracepoints, in enforce and in audit mode (` + "`make e2e E2E_RUN=TestAttacks`" + `).

That they deny nothing innocent is tried on a Debian 12 in a guest (` + "`TestGuestDay`" + `): systemd boots with the agent in enforce mode
before sysinit.target; then a package with account, unit, cron job and library configuration is installed, accounts are made and
changed, people log in by ssh, su, sudo and login, something is built, nginx serves under load and is reloaded, cron and its
nightly jobs run, logs are rotated, services restart, the package goes. Nothing is denied. Two alerts come, both of what an
administrator did by hand: authorized-keys-write (a key for somebody) and persistence-write (a file in /etc/cron.d).

What holds for all of them:

- A program that is a script acts as its interpreter: list the interpreter, or let the script run below something listed.
- Rules on opening for writing also see a file that is renamed or linked into place, moved away, removed, or truncated by its
  path (docs/input.md); not with the tracepoint backend, nor on a kernel without CONFIG_SECURITY_PATH.
- Rules on opening also see an open file that is taken from another process; not with the tracepoint backend.
- Rules on exec that name the program also see it mapped executable, by the loader that is called directly or by dlopen.
- With the tracepoint backend an open that truncates or creates is seen as a plain open for writing; a file that is truncated
  without being written to cannot be told (log-and-history-wipe is silent).
- An administrator's editor is no package manager. On machines that are administered by hand, read what the audit mode reports
  before switching to enforce. Ansible and cloud-init run as python, which is in no list: let them run in audit mode, or give
  them an interpreter of their own and list that in ` + "`data.config_management`" + `.
- A container is what has mounts of its own, and processes or a root directory of its own (` + "`container` in `input.process.traits`" + `):
  sandboxes that have both count, and snap packages.

`

const rulesMissing = `
# What is not there yet

Rules that a server baseline should have, and what is missing to write them so that they mean what they say.

| rule | what it would catch | what is missing |
| --- | --- | --- |
| container-escape-tools, the socket | a container that talks to the socket of its runtime (T1610) | a hook on connect |
| module-load, the call | loading a module without kmod (T1547.006) | a hook on kernel_read_file and module loading |
| agent-tamper, signals | stopping the agent (T1562.001) | a hook on signals |
| raw-memory-device, other names | a device node for /dev/mem under another name | the device number of a file |
`

// TestPacksDoc keeps docs/packs.md equal to the annotations of the packs.
func TestPacksDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString(packsIntro)
	for _, s := range shipped(t)[1:] {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s", s.pack, packsAbout[s.pack], s.index())
		s.p.Close(context.Background())
	}
	same(t, "../docs/packs.md", b.String())
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
bailiff test --pack miners=miners.json         # tests of the bundle and of the pack, with this data
bailiff replay embedded --pack miners          # what it would have done to recorded acts
bailiff report --pack miners                   # exceptions, tried; --exceptions=miners writes the file
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

func description(t *testing.T, p *Policy, r *ast.Rule) string {
	for _, a := range p.src.Compiler.GetAnnotationSet().GetRuleScope(r) {
		if a.Description != "" {
			return strings.TrimSpace(a.Description)
		}
	}
	t.Errorf("%s: the rule has no description", r.Location)
	return ""
}
