package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// What an attacker can name must not be able to look like something else: not
// like another line, not like another column, not like a terminal's command.

// word shows s as one word of a line: as it is where it is made of printable
// characters without spaces, else in double quotes with Go's escapes. Bytes
// that are no character show as \xNN. No two strings look alike.
func word(s string) string {
	if s == "" {
		return `""`
	}
	for i, r := range s {
		_, n := utf8.DecodeRuneInString(s[i:])
		if r == '"' || r == '\\' || unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError && n == 1 {
			return strconv.Quote(s)
		}
	}
	return s
}

// visible shows a text of several words that ends a line: what is not
// printable is escaped, the spaces stay.
func visible(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// visibleLines is visible for texts whose line breaks are ours.
func visibleLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.ReplaceAll(visible(lines[i]), `\t`, "\t")
	}
	return strings.Join(lines, "\n")
}

// jsonLine is v as one line of JSON in which every character is printable:
// what encoding/json leaves as it is (C1 controls, direction marks) would act
// on the terminal of whoever looks at it.
func jsonLine(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return printable(strings.TrimSuffix(b.String(), "\n")), nil
}

// printable escapes characters in JSON text. Outside of strings JSON has only
// printable ones and, when indented, line breaks.
func printable(s string) []byte {
	out := make([]byte, 0, len(s)+1)
	for _, r := range s {
		switch {
		case r == '\n' || unicode.IsPrint(r) && r != utf8.RuneError:
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return append(out, '\n')
}

// jsonIndent is v as indented JSON of printable characters, with a line end.
func jsonIndent(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return printable(strings.TrimSuffix(b.String(), "\n")), nil
}

// printJSON writes v, indented, for commands that answer once.
func (a *app) printJSON(v any) error {
	b, err := jsonIndent(v)
	if err != nil {
		return err
	}
	_, err = a.out.Write(b)
	return err
}

// printValue writes v as JSON or, if that was asked for, as YAML with the same
// keys.
func (a *app) printValue(v any) error {
	b, err := jsonIndent(v)
	if err == nil && a.output == "yaml" {
		b, err = toYAML(b)
	}
	if err != nil {
		return fmt.Errorf("encode %s: %w", a.output, err)
	}
	_, err = a.out.Write(b)
	return err
}
