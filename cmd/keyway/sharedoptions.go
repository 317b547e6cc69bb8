package main

import (
	"strings"

	"github.com/spf13/pflag"

	"keyway/internal/session/option"
)

// sharedOptions declares on f the options of the command with the same name in the workspace.
func sharedOptions(f *pflag.FlagSet, table option.Table) {
	for _, o := range table.Options {
		value, usage := table.Described(o.Name)
		letter := ""
		if o.Letter != 0 {
			letter = string(rune(o.Letter))
		}
		if !o.Value {
			f.BoolP(o.Name, letter, false, usage)
		} else {
			f.StringP(o.Name, letter, "", strings.Replace(usage, value, "`"+value+"`", 1))
		}
	}
}

// isOn reports whether a switch that sharedOptions declared was given.
func isOn(f *pflag.FlagSet, name string) bool {
	on, err := f.GetBool(name)
	return err == nil && on
}

// givenOptions returns the options that were given, as the workspace's keyway takes them, in the
// order of the table.
func givenOptions(f *pflag.FlagSet, table option.Table) (words []string) {
	for _, o := range table.Options {
		flag := f.Lookup(o.Name)
		switch {
		case flag == nil || !flag.Changed:
		case o.Value:
			words = append(words, "--"+o.Name, flag.Value.String())
		case !isOn(f, o.Name):
		case o.Letter != 0:
			words = append(words, "-"+string(rune(o.Letter)))
		default:
			words = append(words, "--"+o.Name)
		}
	}
	return words
}
