package stream

// Logger receives the messages of a stream; a *slog.Logger is one. It is an interface because slog
// alone adds 94 KB, too much for a small program.
type Logger interface {
	Debug(msg string, pairs ...any)
	Info(msg string, pairs ...any)
	Warn(msg string, pairs ...any)
}

// noLogger discards messages.
type noLogger struct{}

func (noLogger) Debug(string, ...any) {}
func (noLogger) Info(string, ...any)  {}
func (noLogger) Warn(string, ...any)  {}
