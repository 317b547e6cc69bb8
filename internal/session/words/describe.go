//go:build linux

package words

import (
	"fmt"
	"time"

	"keyway/internal/plain"
	"keyway/internal/session"
)

// describe returns a session's state in a few words.
func describe(i session.Info) string {
	if i.Exit == nil {
		if i.Reason != "" {
			return "lost: " + plain.Line(i.Reason)
		}
		return plain.Line(string(i.Status))
	}
	words := fmt.Sprint("exit code ", i.Exit.Code)
	if i.Exit.Signal != "" {
		words = plain.Line(i.Exit.Signal)
	}
	switch {
	case i.Exit.OOM:
		words = "out of memory: " + words
	case i.Exit.OOMKills > 0:
		words += fmt.Sprintf(", out of memory meanwhile: %d processes killed", i.Exit.OOMKills)
	}
	if i.Exit.Reason != "" {
		words += ", " + plain.Line(i.Exit.Reason)
	}
	if i.Left > 0 {
		words += ", " + session.LeftNews(i.Left)
	}
	if why := i.Hook.Failure(); why != "" {
		words += ", --on-exit failed: " + plain.Line(why)
	}
	if i.Exit.Lost > 0 {
		words += plain.Sprintf(", %d bytes of its log lost: %s", i.Exit.Lost, i.Exit.LogErr)
	}
	return words
}

// took returns the time that a session ran or has been running, if known.
func took(i session.Info, now time.Time) string {
	switch {
	case i.Exit != nil && !i.Exit.Ended.IsZero():
		return short(i.Exit.Ended.Sub(i.Exit.Started))
	case i.Status == session.Running:
		return short(now.Sub(i.Started))
	}
	return "-"
}

func since(then, now time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return short(now.Sub(then)) + " ago"
}

// short formats a duration in its two largest units.
func short(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}
