package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

const maxTypedAnswer = 100 // bytes

// Terminal asks at the terminal of an agent in the foreground.
type Terminal struct{ file *os.File }

// NewTerminal asks at f, unless that is a terminal at which no question can be
// taken back.
func NewTerminal(f *os.File) (*Terminal, error) {
	return &Terminal{f}, f.SetReadDeadline(time.Time{})
}

// CanAsk reports whether the terminal is the agent's now: one in a shell's background
// would be stopped.
func (t *Terminal) CanAsk() bool { return InForeground(t.file) }

// Ask writes the question and reads a line.
func (t *Terminal) Ask(ctx context.Context, q Question) (Answer, error) {
	if err := t.file.SetReadDeadline(time.Time{}); err != nil {
		return Answer{}, err
	}
	stop := context.AfterFunc(ctx, func() { t.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	fmt.Fprintf(t.file, "\n%s\n[%s] ", q.Text(), Choices(q.Grantable))
	line, err := bufio.NewReader(io.LimitReader(t.file, maxTypedAnswer)).ReadString('\n')
	if ctx.Err() != nil {
		fmt.Fprintln(t.file, "\nno answer is needed any more")
		return Answer{}, context.Cause(ctx)
	}
	if err != nil {
		return Answer{}, err
	}
	return ParseAnswer(line, "terminal"), nil
}
