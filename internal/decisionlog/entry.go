// Package decisionlog writes decisions in the format of OPA's decision logs,
// which existing tools read: as lines of a file that is rotated, and as gzip
// posted to a decision log service. It waits for nobody: what does not fit into
// its queue is dropped and counted.
package decisionlog

import (
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"example.com/bailiff/internal/event"
)

// entry is one decision, in the fields of OPA's EventV1.
type entry struct {
	Labels     map[string]string `json:"labels"`
	DecisionID string            `json:"decision_id"`
	Bundles    map[string]bundle `json:"bundles,omitempty"`
	Path       string            `json:"path"`
	Input      any               `json:"input,omitempty"`
	Result     any               `json:"result"`
	Erased     []string          `json:"erased,omitempty"`
	Masked     []string          `json:"masked,omitempty"`
	Timestamp  time.Time         `json:"timestamp"`
	Metrics    map[string]any    `json:"metrics"`
	Custom     map[string]any    `json:"custom"`
}

type bundle struct {
	Revision string `json:"revision"`
}

// encoder turns events into lines.
type encoder struct {
	o      *Options
	labels map[string]string
	mask   []maskOp
}

func newEncoder(o *Options) (*encoder, error) {
	e := &encoder{o: o, labels: map[string]string{"app": "bailiff", "id": o.Run.ID, "version": o.Version}}
	maps.Copy(e.labels, o.Labels)
	for _, m := range o.Mask {
		op, err := parseMask(m)
		if err != nil {
			return nil, err
		}
		e.mask = append(e.mask, op)
	}
	return e, nil
}

// wanted reports whether the decision goes into the log.
func (c *encoder) wanted(e *event.Event) bool {
	return e.Agent == nil && slices.Contains(event.Judged, e.Hook) && slices.Contains(c.o.Verdicts, e.Decision.Verdict)
}

// line is the decision as one line of JSON of printable characters, without its
// end.
func (c *encoder) line(e *event.Event) ([]byte, error) {
	doc, err := c.o.Input(e)
	if err != nil {
		return nil, fmt.Errorf("make input of event %d: %w", e.Seq, err)
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var input any
	if err := d.Decode(&input); err != nil {
		return nil, fmt.Errorf("read input of event %d: %w", e.Seq, err)
	}
	x := &entry{
		Labels: c.labels, DecisionID: c.id(e), Path: "bailiff/" + e.Hook.String(),
		Bundles: map[string]bundle{c.o.Bundle: {e.Decision.Revision}},
		Input:   input, Result: result(&e.Decision), Timestamp: e.Time.UTC(),
		Metrics: map[string]any{"counter_bailiff_generation": e.Decision.Generation, "timer_bailiff_logged_after_ns": c.o.Now().Sub(e.Time).Nanoseconds()},
		Custom:  c.custom(e),
	}
	for _, field := range e.Redacted {
		if p := pointerOf(field); p != "" {
			x.Masked = append(x.Masked, p)
		}
	}
	for _, op := range c.mask {
		op.apply(x)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return nil, fmt.Errorf("encode event %d: %w", e.Seq, err)
	}
	return printable(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// id is a UUID (version 5) made of boot, run and number, so that a decision
// that is sent twice has one id.
func (c *encoder) id(e *event.Event) string {
	h := sha1.Sum(fmt.Appendf(nil, "bailiff/%s/%s/%d", c.o.Run.Boot, c.o.Run.ID, e.Seq))
	h[6], h[8] = h[6]&0x0f|0x50, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// result is what the policy said, and what was done.
func result(d *event.Decision) map[string]any {
	out := map[string]any{"verdict": d.Verdict.String(), "effect": d.Effect.String(), "mode": d.Mode.String(), "source": d.Source.String()}
	if d.Message != "" {
		out["message"] = d.Message
	}
	if d.Rule != nil {
		out["rule"] = d.Rule
	}
	if len(d.Others) > 0 {
		out["others"] = d.Others
	}
	return out
}

// custom is what OPA has no field for.
func (c *encoder) custom(e *event.Event) map[string]any {
	d := &e.Decision
	out := map[string]any{"seq": e.Seq, "run_id": c.o.Run.ID, "boot_id": c.o.Run.Boot, "exec_id": e.Process.ExecID, "would_deny": d.WouldDeny()}
	for name, set := range map[string]bool{"late": d.Late, "undecided": d.Undecided, "divergence": d.Divergence, "commit": d.Commit} {
		if set {
			out[name] = true
		}
	}
	if d.FailOpen != "" {
		out["fail_open"] = d.FailOpen
	}
	return map[string]any{"bailiff": out}
}

// pointerOf names a field of an event as it stands in the log; "" if it does not.
func pointerOf(field string) string {
	head, rest, _ := strings.Cut(field, ".")
	switch {
	case field == "process.cgroup":
		return "/input/process/cgroup/path"
	case head == "exec" && slices.Contains([]string{"args", "env", "cwd", "script"}, rest):
		return "/input/" + rest
	case field == "decision.message":
		return "/result/message"
	case head == "process" || head == "file":
		return "/input/" + strings.ReplaceAll(strings.Replace(field, "parent_exe", "parent.exe", 1), ".", "/")
	}
	return ""
}

// printable escapes what would act on the terminal of whoever looks at it:
// encoding/json leaves C1 controls and direction marks as they are.
func printable(line []byte) []byte {
	out := make([]byte, 0, len(line))
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch {
		case unicode.IsPrint(r) && !(r == utf8.RuneError && n == 1):
			out = append(out, line[:n]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		line = line[n:]
	}
	return out
}
