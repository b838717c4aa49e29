package main

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/bailiff/internal/server"
	"example.com/bailiff/policy"
)

// userError is something that the person at the keyboard can mend.
type userError struct {
	Code string // stable
	File string // with Line: the place, if there is one
	Line int
	Why  string
	Hint string
}

// Error returns place and reason on one line.
func (e *userError) Error() string {
	switch {
	case e.File != "" && e.Line > 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Why)
	case e.File != "":
		return e.File + ": " + e.Why
	}
	return e.Why
}

// Detail implements server.Detailed.
func (e *userError) Detail() string {
	text := strings.ReplaceAll(e.Error(), "\n", " ") + "\n"
	if e.Hint != "" {
		text += "  hint: " + e.Hint + "\n"
	}
	return text
}

// refusal is what the agent said no to; its text is of several lines.
type refusal struct{ why, detail string }

func (r *refusal) Error() string { return r.why }

// complain tells what went wrong, and what to do about it where that is known.
func (a *app) complain(err error) {
	var bundle policy.Errors
	var one *policy.Error
	if errors.As(err, &bundle) || errors.As(err, &one) {
		var b strings.Builder
		_ = policy.FormatErrors(&b, err)
		fmt.Fprint(a.err, visibleLines(b.String()))
		return
	}
	var r *refusal
	if errors.As(err, &r) {
		if !strings.HasPrefix(r.detail, "error: ") { // those of bundles say so themselves
			fmt.Fprint(a.err, "bailiff: ")
		}
		fmt.Fprint(a.err, visibleLines(r.detail))
		return
	}
	fmt.Fprintf(a.err, "bailiff: %s\n", visible(err.Error()))
	var u *userError
	if errors.As(err, &u) && u.Hint != "" {
		fmt.Fprintf(a.err, "  hint: %s\n", visible(u.Hint))
	}
}

// callError says what a failed call to the agent means.
func (a *app) callError(err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.Unavailable:
		if s.Message() == "the agent stops" {
			return &userError{Code: "agent-stopped", Why: "the agent has stopped"}
		}
		return &userError{Code: "no-agent", Why: fmt.Sprintf("no agent answers on %s: %s", a.target, s.Message()),
			Hint: "is `bailiff run` running, and is it reached by --socket, as root or the agent's user, or by --address with the right --ca?"}
	case codes.Unauthenticated:
		return &userError{Code: "not-trusted", Why: s.Message(), Hint: "the agent's configuration says who signs client certificates (listen.client_ca)"}
	case codes.FailedPrecondition, codes.InvalidArgument, codes.ResourceExhausted:
		if detail := server.DetailOf(err); detail != "" {
			return &refusal{s.Message(), detail}
		}
		return &userError{Code: "refused", Why: s.Message()}
	case codes.PermissionDenied:
		return &userError{Code: "not-allowed", Why: s.Message(), Hint: "readers and operators are listed in the agent's configuration (listen.readers, listen.operators)"}
	}
	return fmt.Errorf("call agent: %w", err)
}
