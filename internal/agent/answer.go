package agent

import (
	"fmt"
	"strings"
	"time"
)

// Answer is the user's answer. The zero Answer denies, once.
type Answer struct {
	Allow bool
	For   time.Duration // how long it holds; 0: this once
	Ever  bool          // it holds as long as the agent runs
	By    string        // who or what answered, for the log
}

// grantedFor is the time for which the answer between once and always holds.
const grantedFor = 15 * time.Minute

// ParseAnswer reads an answer as people type it; by is its author. A text that is no
// answer denies.
func ParseAnswer(text, by string) Answer {
	a := Answer{By: by}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "o", "once", "y", "yes":
		a.Allow = true
	case "m", "15m", "15", "15 min":
		a.Allow, a.For = true, grantedFor
	case "a", "always":
		a.Allow, a.Ever = true, true
	}
	return a
}

// Choices returns the possible answers, in words for people.
func Choices(grantable bool) string {
	if !grantable {
		return "o once, n no"
	}
	return fmt.Sprintf("o once, m %d minutes, a as long as the agent runs, n no", grantedFor/time.Minute)
}

// choiceWords returns the possible answers, in words for programs.
func choiceWords(grantable bool) string {
	if !grantable {
		return "once,deny"
	}
	return "once,15m,always,deny"
}
