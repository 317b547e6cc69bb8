package main

import (
	"slices"
	"strings"

	"keyway/internal/lazyregexp"
)

// standIns lists the placeholders for the user's own values in a command, as in usage lines, in
// the order in which a note names them.
var standIns = []string{
	"PLACE", "HOST", "TEMPLATE", "SERVICE", "IMAGE", "CONTAINER", "NAME", "JOB", "COMMAND", "PORT", "KEYFILE", "KEY", "FILE", "PATH", "DIR", "USER", "TARGET", "VALUE",
}

// standInWord matches a placeholder where a shell would read it as a word, or as a part of one.
var standInWord = lazyregexp.New(`(?:^|[\s=:@/'])(` + strings.Join(standIns, "|") + `)(?:$|[\s=:@/'…,;])`)

// noted is the beginning of the note about placeholders.
const noted = "   (with yours for "

// toFill returns text with a note behind each line that contains placeholders, so that no user
// types them unchanged. A line that has its note is not changed.
func toFill(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if words := standInsOf(line); len(words) > 0 && !strings.Contains(line, noted) {
			lines[i] = line + noted + enumerated(words) + ")"
		}
	}
	return strings.Join(lines, "\n")
}

// standInsOf returns the placeholders of a line, each once.
func standInsOf(line string) (words []string) {
	for at := 0; ; {
		m := standInWord.FindStringSubmatchIndex(line[at:])
		if m == nil {
			break
		}
		if word := line[at+m[2] : at+m[3]]; !slices.Contains(words, word) {
			words = append(words, word)
		}
		at += m[3] // the character after one may be the character before the next
	}
	return words
}

// enumerated returns "a", "a and b" or "a, b and c".
func enumerated(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
