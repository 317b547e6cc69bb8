package stream

// Logger is where a stream says what happens to it; a *slog.Logger is one. It is
// an interface because slog alone is 94 KB, which a small program may not want.
type Logger interface {
	Debug(msg string, pairs ...any)
	Info(msg string, pairs ...any)
	Warn(msg string, pairs ...any)
}

// noLogger says nothing.
type noLogger struct{}

func (noLogger) Debug(string, ...any) {}
func (noLogger) Info(string, ...any)  {}
func (noLogger) Warn(string, ...any)  {}
