package hostile

import "strings"

// ruleCases are in Rego that does not parse, compile, type-check, or mean anything.
func ruleCases() []Case {
	r := func(name, code, text string) Case {
		return Case{Name: "rule/" + name, Code: code, Archive: good().With("more.rego", text).Pack()}
	}
	body := func(name, code, text string) Case {
		return r(name, code, "package bailiff.exec\n\ndeny contains \"x\" if {\n\t"+text+"\n}\n")
	}
	note := func(name, text string) Case {
		return r(name, "P008", "package bailiff.exec\n\n# METADATA\n# custom: {"+text+"}\ndeny contains \"x\" if input.process.pid == 7\n")
	}
	only := func(name, code string, files ...string) Case {
		return Case{Name: "rule/" + name, Code: code, Archive: good().With("exec.rego", "").With(files...).Pack()}
	}
	return []Case{
		r("empty-file", "P002", " "),
		r("no-package", "P002", "deny contains 1 if true\n"),
		r("binary", "P002", "package bailiff.exec\n\x00\x01\x02\n"),
		r("not-utf8", "P002", "package bailiff.exec\ndeny contains \"\xff\xfe\" if input.process.pid == 1\n"),
		r("unclosed-brace", "P002", "package bailiff.exec\ndeny contains 1 if { input.process.pid == 1\n"),
		r("unclosed-string", "P002", "package bailiff.exec\ndeny contains \"x if true\n"),
		r("old-syntax", "P002", "package bailiff.exec\ndeny[x] { x := 1 }\n"),
		r("python", "P002", "package bailiff.exec\ndef deny(x):\n    return True\n"),
		r("unknown-import", "P002", "package bailiff.exec\nimport future.keywords.whenever\n"),
		r("bad-annotation", "P002", "package bailiff.exec\n\n# METADATA\n# custom: {id: [}\ndeny contains 1 if input.process.pid == 1\n"),
		r("recursion", "P003", "package bailiff.exec\n\ndeny contains \"x\" if a\n\na if not a\n"),
		r("mutual-recursion", "P003", "package bailiff.exec\n\ndeny contains \"x\" if a\n\na if b\n\nb if c\n\nc if a\n"),
		r("recursive-function", "P003", "package bailiff.exec\n\ndeny contains \"x\" if f(input.process.pid)\n\nf(x) if f(x - 1)\n"),
		r("reads-itself", "P003", "package bailiff.exec\n\ndeny contains x if some x in deny\n"),
		r("unsafe", "P003", "package bailiff.exec\n\ndeny contains x if input.process.pid == 1\n"),
		r("unsafe-below-not", "P003", "package bailiff.exec\n\ndeny contains \"x\" if not data.programs[y] == z\n"),
		r("unused-import", "P003", "package bailiff.exec\n\nimport data.programs\n\ndeny contains \"x\" if input.process.pid == 1\n"),
		r("unused-variable", "P003", "package bailiff.exec\n\ndeny contains \"x\" if {\n\ty := 1\n\tinput.process.pid == 1\n}\n"),
		r("two-defaults", "P004", "package bailiff.exec\n\ndefault a := 1\n\ndefault a := 2\n\ndeny contains \"x\" if input.process.pid == a\n"),
		r("set-and-value", "P004", "package bailiff.exec\n\ndeny := true\n"),
		r("package-hides-rule", "P004", "package bailiff.exec.deny\n\nx := 1\n"),
		body("unknown-function", "P005", "magic(input.process.pid)"),
		body("misspelt-field", "P004", `input.proces.pid == 1`),
		body("misspelt-leaf", "P004", `input.file.pth == "/x"`),
		body("field-of-number", "P004", `input.process.uid.x == 1`),
		body("number-as-text", "P004", `startswith(input.process.uid, "0")`),
		body("text-as-number", "P004", `input.process.uid + "0" == 1`),
		body("never-equal", "P004", `input.process.uid == "0"`),
		body("wrong-arguments", "P004", `startswith(input.file.path)`),
		r("deny-is-true", "P007", "package bailiff.open\n\ndeny := true\n"),
		r("alert-is-object", "P007", "package bailiff.open\n\nalert[x] := 1 if {\n\tsome x in [\"a\"]\n\tinput.process.pid == 1\n}\n"),
		r("alert-is-function", "P007", "package bailiff.open\n\nalert(x) if x == 1\n"),
		note("severity", "severity: terrible"),
		note("mode", "mode: maybe"),
		note("response", "response: kil"),
		note("undecided", "undecided: perhaps"),
		note("id-spaces", `id: "two words"`),
		note("id-number", "id: 7"),
		note("attack", "attack: T1105"),
		note("always", "always: often"),
		r("same-id", "P009", strings.Replace(good()["exec.rego"], "data.programs[input.file.path]", `input.process.uid == 7`, 1)),
		r("wrong-package", "P011", "package bailiff.exce\n\ndeny contains \"x\" if input.process.pid == 1\n"),
		r("no-hook", "P011", "package bailiff.connect\n\ndeny contains \"x\" if input.process.pid == 1\n"),
		only("nothing", "P006"),
		only("only-data", "P006", ".manifest", `{"revision": "r11", "metadata": {"bailiff": {"serial": 11}}}`),
		only("only-tests", "P006", "exec_test.rego", good()["exec.rego"]),
		only("only-helpers", "P006", "lib.rego", "package lib\n\nf(x) := x + 1\n"),
		only("hidden", "P006", ".git/exec.rego", good()["exec.rego"]),
	}
}

// builtinCases use what a policy in the path of every exec must not have.
func builtinCases() []Case {
	b := func(name, code, text string) Case {
		return Case{Name: "builtin/" + name, Code: code, Archive: good().With("more.rego", "package bailiff.exec\n\ndeny contains \"x\" if {\n\t"+text+"\n}\n").Pack()}
	}
	return []Case{
		b("http.send", "P005", `http.send({"method": "get", "url": "http://169.254.169.254/"}).status_code == 200`),
		b("http.send-in-comprehension", "P005", `count([x | some y in ["a"]; x := http.send({"method": "get", "url": y})]) > 0`),
		b("http.send-below-not", "P005", `not http.send({"method": "get", "url": input.file.path}).status_code == 200`),
		b("net.lookup_ip_addr", "P005", `count(net.lookup_ip_addr(input.file.name)) > 0`),
		b("net.cidr_expand", "P005", `count(net.cidr_expand("0.0.0.0/0")) > 0`),
		b("opa.runtime", "P005", `opa.runtime().env.TOKEN != ""`),
		b("rand.intn", "P005", `rand.intn("x", 10) == 1`),
		b("uuid.rfc4122", "P005", `uuid.rfc4122("x") == input.file.name`),
		b("io.jwt.encode_sign", "P005", `io.jwt.encode_sign({}, {}, {}) == input.file.name`),
		b("io.jwt.decode_verify", "P005", `io.jwt.decode_verify(input.file.name, {})[0]`),
		b("bits.lsh", "P005", `bits.lsh(1, 10000000000) == input.process.pid`),
		b("providers.aws.sign_req", "P005", `providers.aws.sign_req({}, {}, 1).x == 1`),
		b("strings.render_template", "P005", `strings.render_template("{{printf \"%999999999d\" 1}}", {}) == input.file.name`),
		b("sprintf-wide", "P018", `sprintf("%999999999d", [input.process.pid]) == input.file.name`),
		b("sprintf-precise", "P018", `sprintf("%.999999999f", [input.process.pid]) == input.file.name`),
		b("sprintf-star", "P018", `sprintf("%*d", [input.process.pid, 1]) == input.file.name`),
		b("sprintf-computed", "P018", `sprintf(input.file.name, [1]) == input.file.path`),
	}
}
