package main

import (
	"bytes"
	"fmt"
	"io"

	"example.com/bailiff/internal/redact"
)

// logWriter is where the agent's log goes: without secrets, and without
// characters that act on the terminal of whoever reads it. hclog escapes the
// values of text lines, but leaves the line breaks of long ones, indented; of
// JSON it escapes only what JSON must.
type logWriter struct {
	to       io.Writer
	redactor *redact.Redactor
}

// Write implements io.Writer: hclog writes one record at a time.
func (w logWriter) Write(b []byte) (int, error) {
	text := w.redactor.Text(string(bytes.TrimSuffix(b, []byte("\n"))))
	if _, err := w.to.Write(printable(text)); err != nil {
		return 0, fmt.Errorf("write log: %w", err)
	}
	return len(b), nil
}
