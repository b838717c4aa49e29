package main

// paint puts colour around text for terminals.
type paint struct{ on bool }

const (
	red     = "1;31"
	yellow  = "33"
	magenta = "35"
	green   = "32"
	cyan    = "36"
	dim     = "2"
	bold    = "1"
)

func (p paint) as(colour, s string) string {
	if !p.on || colour == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}
