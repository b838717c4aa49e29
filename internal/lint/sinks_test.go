package lint

// borderOf finds the line of a package, here for the ways out for events, in
// borders for all others.
func borderOf(pkg string) (border, bool) {
	below := map[string]border{
		"internal/sink/jsontext": {nil, "it writes JSON and knows nothing else"},
		"internal/sink/dial":     {nil, "it reads certificates"},
		"internal/sink/ocsf":     {[]string{"internal/event", "internal/sink", "internal/sink/jsontext"}, "a format maps events and opens nothing"},
		"internal/sink/ecs":      {[]string{"internal/event", "internal/sink", "internal/sink/jsontext"}, "a format maps events and opens nothing"},
		"internal/sink/file":     {[]string{"internal/sink"}, "a sender brings records somewhere and knows no format"},
		"internal/sink/otlp":     {[]string{"internal/event", "internal/sink", "internal/sink/dial"}, "OTLP has attributes beside the record"},
		"internal/sink/nats":     {[]string{"internal/sink", "internal/sink/dial"}, "a sender brings records somewhere and knows no format"},
		"internal/sink/syslog":   {[]string{"internal/sink", "internal/sink/dial"}, "a sender brings records somewhere and knows no format"},
		"internal/sink/sinktest": {[]string{"internal/event", "internal/sink", "internal/spool"}, "tests of ways out read from a real spool"},
		"docs/examples/go":       {[]string{"proto/bailiff/v1"}, "a client has the proto and nothing else"},
	}
	if b, ok := below[pkg]; ok {
		return b, true
	}
	b, ok := borders[pkg]
	return b, ok
}
