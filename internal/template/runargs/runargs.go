// Package runargs reads the arguments of docker run, as docker's own command line does.
package runargs

import (
	"bytes"
	"strings"

	"keyway/internal/lazyregexp"
)

// Option is an option with its value.
type Option struct {
	Name  string // as it was given: --memory or -m
	Value string // empty for one without
	Index int    // of the word that begins it
}

// switches lists the options that take no word behind them.
var switches = map[string]bool{
	"--init": true, "--privileged": true, "--rm": true, "--read-only": true, "--tty": true, "-t": true, "--interactive": true, "-i": true,
	"--detach": true, "-d": true, "--no-healthcheck": true, "--oom-kill-disable": true, "--publish-all": true, "-P": true, "--sig-proxy": true, "--quiet": true, "-q": true,
}

// Options returns the options in words. A word that begins none is an option without a value. An option
// that docker does not have takes no other option for its value, so that each is in the result.
func Options(words []string) (all []Option) {
	for i := 0; i < len(words); i++ {
		found, complete := split(words[i])
		for j := range found {
			found[j].Index = i
		}
		last := &found[len(found)-1]
		if !complete && len(last.Name) > 1 && last.Name[0] == '-' && i+1 < len(words) && !strings.HasPrefix(words[i+1], "--") {
			i++
			last.Value = words[i]
		}
		all = append(all, found...)
	}
	return all
}

// split splits --option=VALUE, and a group of letters, of which the last may have a value: -o, -oVALUE,
// -o=VALUE, -abo VALUE. complete reports that no value can follow.
func split(word string) (all []Option, complete bool) {
	if len(word) < 2 || word[0] != '-' || word[1] == '-' {
		name, value, given := strings.Cut(word, "=")
		return []Option{{Name: name, Value: value}}, given || switches[name]
	}
	for rest := word[1:]; rest != ""; {
		o := Option{Name: "-" + rest[:1]}
		rest = rest[1:]
		value, given := strings.CutPrefix(rest, "=")
		if given || rest != "" && !switches[o.Name] {
			o.Value, rest, complete = value, "", true
		} else {
			complete = switches[o.Name]
		}
		all = append(all, o)
	}
	return all, complete
}

// same maps options to the values with which they say what is so for every workspace; an empty one
// is any.
var same = map[string]string{
	"--init": "", "--tty": "", "-t": "", "--interactive": "", "-i": "", "--detach": "", "-d": "", "--no-healthcheck": "", "--sig-proxy": "", "--quiet": "", "-q": "",
	"--privileged": "false", "--rm": "false", "--oom-kill-disable": "false", "--publish-all": "false", "-P": "false", "--ipc": "private", "--network": "bridge default",
	"--net": "bridge default", "--pull": "missing", "--restart": "no", "--runtime": "runc", "--isolation": "default", "--cgroupns": "private",
}

// Same reports whether o changes nothing about a workspace.
func (o Option) Same() bool {
	values, known := same[o.Name]
	return known && (values == "" || o.Value != "" && strings.Contains(" "+values+" ", " "+o.Value+" "))
}

// variable matches a variable, in whose default a colon separates nothing.
var variable = lazyregexp.New(`\$\{[^}]*\}`)

// Volume returns the parts of a value of --volume: TARGET, or SOURCE:TARGET[:OPTIONS].
func Volume(value string) (source string, options []string) {
	whole := string(variable.ReplaceAllFunc([]byte(value), func(v []byte) []byte { return bytes.Repeat([]byte("x"), len(v)) }))
	end := strings.IndexByte(whole, ':')
	if end < 0 {
		return "", nil
	}
	if _, last, given := strings.Cut(whole[end+1:], ":"); given {
		options = strings.Split(last, ",")
	}
	return value[:end], options
}
