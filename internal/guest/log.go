//go:build linux

package guest

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// logger writes lines of key=value for operators, in the format of slog's text handler. It
// is our own because slog would add 94 KB to a program that is copied to every machine. It
// writes each line at once, so that lines never mix.
type logger struct{ w io.Writer }

func (l *logger) info(msg string, pairs ...any) { l.line("INFO", msg, pairs) }

func (l *logger) warn(msg string, pairs ...any) { l.line("WARN", msg, pairs) }

func (l *logger) line(level, msg string, pairs []any) {
	var b strings.Builder
	b.WriteString("time=" + time.Now().UTC().Format("2006-01-02T15:04:05.000Z") + " level=" + level + " msg=" + quoted(msg))
	for i := 0; i+1 < len(pairs); i += 2 {
		b.WriteString(" " + fmt.Sprint(pairs[i]) + "=" + quoted(fmt.Sprint(pairs[i+1])))
	}
	_, _ = io.WriteString(l.w, b.String()+"\n")
}

// quoted quotes a value that would leave its line or its field: comments of keys and client
// versions come from outside.
func quoted(s string) string {
	odd := func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !unicode.IsPrint(r) }
	if s == "" || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}
