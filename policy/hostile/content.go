package hostile

import (
	"encoding/base64"
	"strings"
)

func manifestCases() []Case {
	m := func(name, manifest string, more ...string) Case {
		return Case{Name: "manifest/" + name, Code: "P015", Archive: good().With(".manifest", manifest).With(more...).Pack()}
	}
	serial := func(s string) string { return `{"revision": "r11", "metadata": {"bailiff": {"serial": ` + s + `}}}` }
	own := `{"revision": "r11", "metadata": {"bailiff": {"serial": 11}}}`
	return []Case{
		m("not-json", "revision: r11"),
		m("cut", `{"revision": "r1`),
		m("two-values", own+own),
		m("behind", own+" x"),
		m("array", `["r11"]`),
		m("unknown-field", `{"revision": "r11", "revison": "r12"}`),
		m("revision-number", `{"revision": 11}`),
		m("revision-newline", `{"revision": "r11\nr12"}`),
		m("revision-escape", `{"revision": "\u001b[2J"}`),
		m("revision-long", `{"revision": "`+strings.Repeat("r", 1000)+`"}`),
		m("roots-string", `{"revision": "r11", "roots": "bailiff"}`),
		m("roots-elsewhere", `{"revision": "r11", "roots": ["other"], "metadata": {"bailiff": {"serial": 11}}}`),
		m("roots-without-data", `{"revision": "r11", "roots": ["bailiff"], "metadata": {"bailiff": {"serial": 11}}}`),
		m("roots-overlap", `{"revision": "r11", "roots": ["bailiff", "bailiff/exec", "programs"], "metadata": {"bailiff": {"serial": 11}}}`),
		m("rego-0", `{"revision": "r11", "rego_version": 0}`),
		m("rego-7", `{"revision": "r11", "rego_version": 7}`),
		m("rego-0-of-a-file", `{"revision": "r11", "file_rego_versions": {"/exec.rego": 0}}`),
		m("wasm-resolver", `{"revision": "r11", "wasm": [{"entrypoint": "bailiff/exec/deny", "module": "/policy.wasm"}]}`),
		m("wasm", own, "policy.wasm", "\x00asm\x01\x00\x00\x00"),
		m("plan", own, "plan.json", "{}"),
		m("protobuf", own, ".manifest.pb", "\x0a\x01r"),
		m("nested", own, "sub/.manifest", own),
		m("named", own, "x.manifest", own),
		m("nested-signatures", own, "sub/.signatures.json", "{}"),
		m("serial-string", serial(`"11"`)),
		m("serial-negative", serial("-1")),
		m("serial-fraction", serial("11.5")),
		m("serial-huge", serial("90071992547409930")),
		m("serial-list", serial("[11]")),
		m("unknown-mark", `{"revision": "r11", "metadata": {"bailiff": {"serail": 11}}}`),
		m("mark-list", `{"revision": "r11", "metadata": {"bailiff": [11]}}`),
		m("metadata-list", `{"revision": "r11", "metadata": []}`),
	}
}

func dataCases() []Case {
	d := func(name, code, file, text string) Case {
		return Case{Name: "data/" + name, Code: code, Archive: good().With(file, text).Pack()}
	}
	laughs := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'j'; c++ {
		laughs += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 10) + "]\n"
	}
	return []Case{
		d("not-json", "P001", "data.json", `{"programs": `),
		d("behind", "P001", "data.json", `{"programs": {}} x`),
		d("array", "P001", "data.json", `["/bin/sh"]`),
		d("string", "P001", "data.json", `"x"`),
		d("bad-escape", "P001", "data.json", `{"programs": "\q"}`),
		d("comment", "P001", "data.json", "{\"programs\": {}} // all\n"),
		d("nan", "P001", "data.json", `{"programs": NaN}`),
		d("yaml-tab", "P001", "more/data.yaml", "a:\n\tb: 1\n"),
		d("yaml-colon", "P001", "more/data.yaml", "a: b: c\n"),
		d("yaml-alias", "P001", "more/data.yaml", "a: *nobody\n"),
		d("yaml-laughs", "P001", "more/data.yaml", laughs),
		d("two-sources", "P001", "data.yaml", "programs: 7\n"),
		d("hides-a-rule", "P003", "data.json", `{"programs": {}, "bailiff": {"exec": {"deny": ["x"]}}}`),
	}
}

func signatureCases(s *Signer) []Case {
	c := func(name string, f Files) Case {
		return Case{Name: "signature/" + name, Code: "P014", Archive: f.Pack()}
	}
	sig := func(name, text string) Case { return c(name, good().With(".signatures.json", text)) }
	token := func(name string, header, claims map[string]any) Case {
		return sig(name, signatures(s.Token(good(), header, claims)))
	}
	f, right := good(), s.Token(good(), nil, nil)
	parts := strings.Split(right, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"` + s.ID + `"}`))
	other := NewSigner(s.ID, s.Scope)
	stranger := NewSigner("stranger", s.Scope)
	signed := s.Sign(f)
	out := []Case{
		c("none", f),
		c("other-key", other.Sign(f)),
		c("unknown-key", stranger.Sign(f)),
		token("no-scope", nil, map[string]any{"scope": ""}),
		token("other-scope", nil, map[string]any{"scope": "test"}),
		token("scope-prefix", nil, map[string]any{"scope": s.Scope + "x"}),
		c("changed-rule", signed.With("exec.rego", strings.Replace(f["exec.rego"], "listed", "Listed", 1))),
		c("changed-data", signed.With("data.json", `{"programs": {}}`)),
		c("changed-manifest", signed.With(".manifest", `{"revision": "r12", "metadata": {"bailiff": {"serial": 12}}}`)),
		c("more-rules", signed.With("more.rego", "package bailiff.exec\n")),
		c("more-data", signed.With("more/data.json", "{}")),
		c("more-text", signed.With("README", "x")),
		c("more-tests", signed.With("exec_test.rego", "package bailiff.exec_test\n")),
		c("hidden-more", signed.With(".hidden/data.json", "{}")),
		c("fewer-files", signed.With("data.json", "")),
		c("renamed", signed.With("exec.rego", "", "exec2.rego", f["exec.rego"])),
		sig("two-tokens", signatures(right, right)),
		sig("no-token", signatures()),
		sig("empty-token", signatures("")),
		sig("two-parts", signatures(parts[0]+"."+parts[1])),
		sig("five-parts", signatures(right+".a.b")),
		sig("stripped", signatures(parts[0]+"."+parts[1]+".")),
		sig("alg-none", signatures(none+"."+parts[1]+".")),
		sig("cut", signatures(right[:len(right)-4])),
		sig("garbled-payload", signatures(parts[0]+"."+parts[1][:len(parts[1])-8]+"AAAAAAAA."+parts[2])),
		sig("not-base64", signatures("!!!.???.###")),
		token("files-list-of-text", nil, map[string]any{"files": []string{"exec.rego"}}),
		token("no-files", nil, map[string]any{"files": []string{}}),
		token("unknown-kid", map[string]any{"kid": "k0"}, nil),
		token("path-as-kid", map[string]any{"kid": "../../../etc/passwd"}, nil),
		token("no-hash-name", nil, map[string]any{"files": []any{map[string]any{"name": "exec.rego", "hash": "00"}}}),
		token("weak-hash", nil, map[string]any{"files": []any{map[string]any{"name": "exec.rego", "hash": "00", "algorithm": "CRC32"}}}),
		token("hash-not-hex", nil, map[string]any{"files": []any{map[string]any{"name": "exec.rego", "hash": "zz", "algorithm": "SHA-256"}}}),
		sig("other-verifier", `{"signatures": ["`+right+`"], "plugin": "always-true"}`),
		c("delta-not-signed", Files{".manifest": f[".manifest"], "patch.json": `{"data": []}`}),
		c("signed-then-zipped-otherwise", signed.With("./data.json", "{}", "data.json", "")),
	}
	for name, text := range map[string]string{"not-json": "signed", "unknown-field": `{"signature": []}`, "cut": `{"signatures": [`, "number": `{"signatures": 1}`} {
		out = append(out, Case{Name: "signature/file-" + name, Code: "P015", Archive: good().With(".signatures.json", text).Pack()})
	}
	delta := Files{".manifest": `{"revision": "r11", "metadata": {"bailiff": {"serial": 11}}}`, "patch.json": `{"data": []}`}
	old := Case{Name: "signature/older", Code: "P017", Archive: s.Sign(Good("r9", 9)).Pack()}
	noBase := Case{Name: "signature/delta-without-base", Code: "P016", Archive: s.Sign(delta).Pack()}
	return append(out, old, noBase)
}
