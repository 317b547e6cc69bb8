package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedCommandsCanBeTyped checks that this command line accepts each keyway command of a
// document. An indented example must be complete; in a sentence, operands may be missing.
// CHANGELOG.md is not checked, because it describes earlier versions, too.
func TestDocumentedCommandsCanBeTyped(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	var files []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	typed := 0
	for _, file := range files {
		if filepath.Base(file) == "CHANGELOG.md" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		examples, sentences := documented(string(text))
		for _, words := range examples {
			for _, fault := range refusal(words) {
				t.Errorf("%s: %s", file, fault)
			}
		}
		for _, words := range sentences {
			for _, fault := range refusal(words) {
				if !strings.Contains(fault, "needs ") {
					t.Errorf("%s: %s", file, fault)
				}
			}
		}
		typed += len(examples) + len(sentences)
	}
	if typed < 150 {
		t.Errorf("only %d commands were found", typed)
	}
}

var (
	// quotedCommand does not match VERB and PROMPT of the glossary, nor the strings of a protocol.
	quotedCommand = regexp.MustCompile("`(?:[A-Z_]+=[^ `]+ )?keyway (-?[a-z][^`:]*)`")
	// commandEnd matches the text after a command on an example's line: the next command, or an
	// operator of the shell.
	commandEnd = regexp.MustCompile(`\s{3,}|;|&&|\||\s>`)
)

// documented returns the commands of a document: those of indented lines, and those in sentences.
func documented(text string) (examples, sentences [][]string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, "──") {
			continue // a picture
		}
		if strings.HasPrefix(line, "    ") {
			line, _, _ = strings.Cut(line, " #")
			for _, part := range commandEnd.Split(line, -1) {
				if command, ok := strings.CutPrefix(strings.TrimSpace(part), "keyway "); ok {
					examples = append(examples, shellWords(strings.ReplaceAll(command, "NAME…", "NAME NAME")))
				}
			}
			continue
		}
		for _, m := range quotedCommand.FindAllStringSubmatch(line, -1) {
			sentences = append(sentences, shellWords(m[1]))
		}
	}
	return examples, sentences
}
