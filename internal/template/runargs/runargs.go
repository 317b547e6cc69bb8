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
	"--init": true, "--privileged": true, "--rm": true, "--read-only": true, "--tty": true, "-t": true, "--interactive": true, "-i": true, "-it": true, "-ti": true,
	"--detach": true, "-d": true, "--no-healthcheck": true, "--oom-kill-disable": true, "--publish-all": true, "-P": true, "--sig-proxy": true,
}

// Options returns the options in words. A word that begins none is an option without a value. An option
// that docker does not have takes no other option for its value, so that each is in the result.
func Options(words []string) (all []Option) {
	for i := 0; i < len(words); i++ {
		o := Option{Index: i}
		var given bool
		o.Name, o.Value, given = split(words[i])
		if !given && !switches[o.Name] && strings.HasPrefix(o.Name, "-") && i+1 < len(words) && !strings.HasPrefix(words[i+1], "--") {
			i++
			o.Value = words[i]
		}
		all = append(all, o)
	}
	return all
}

// split splits --option=VALUE, -o=VALUE and -oVALUE.
func split(word string) (name, value string, given bool) {
	name, value, given = strings.Cut(word, "=")
	if len(name) < 3 || name[0] != '-' || name[1] == '-' || switches[name] {
		return name, value, given
	}
	return word[:2], word[2:], true
}

// same maps options to the values with which they say what is so for every workspace; an empty one
// is any.
var same = map[string]string{
	"--init": "", "--tty": "", "-t": "", "--interactive": "", "-i": "", "-it": "", "-ti": "", "--detach": "", "-d": "", "--no-healthcheck": "", "--sig-proxy": "",
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
