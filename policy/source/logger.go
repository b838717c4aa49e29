package source

import (
	"fmt"

	"github.com/hashicorp/go-hclog"
	"github.com/open-policy-agent/opa/v1/logging"
)

// logger gives OPA's HTTP code a place to write to. What fails is told by the
// agent in its own words, so all of it is for debugging.
type logger struct {
	log    hclog.Logger
	fields []any
}

func (l *logger) write(format string, a []any) {
	if l.log.IsDebug() {
		l.log.Debug("opa", append([]any{"text", fmt.Sprintf(format, a...)}, l.fields...)...)
	}
}

// Debug implements logging.Logger.
func (l *logger) Debug(f string, a ...any) { l.write(f, a) }

// Info implements logging.Logger.
func (l *logger) Info(f string, a ...any) { l.write(f, a) }

// Warn implements logging.Logger.
func (l *logger) Warn(f string, a ...any) { l.write(f, a) }

// Error implements logging.Logger.
func (l *logger) Error(f string, a ...any) { l.write(f, a) }

// WithFields implements logging.Logger.
func (l *logger) WithFields(m map[string]any) logging.Logger {
	fields := append([]any{}, l.fields...)
	for k, v := range m {
		fields = append(fields, k, fmt.Sprint(v))
	}
	return &logger{l.log, fields}
}

// GetLevel implements logging.Logger.
func (l *logger) GetLevel() logging.Level {
	if l.log.IsDebug() {
		return logging.Debug
	}
	return logging.Error
}

// SetLevel implements logging.Logger: the level is the agent's.
func (l *logger) SetLevel(logging.Level) {}
