package sshargs

import (
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ line, options, host, command string }{
		{"bastion", "", "bastion", ""},
		{"-W [10.0.0.1]:22 bastion", "W=[10.0.0.1]:22", "bastion", ""},
		{"-- bastion -p 22", "", "bastion", "-p 22"},
		{"bastion -W h:22 -q", "W=h:22 q", "bastion", ""},
		{"-qW h:22 bastion", "q W=h:22", "bastion", ""},
		{"-qAWh:22 bastion", "q A W=h:22", "bastion", ""},
		{"-l bastion -q bastion", "l=bastion q", "bastion", ""},
		{"-lbastion bastion nc -q 1 h 22", "l=bastion", "bastion", "nc -q 1 h 22"},
		{"-J a,b -F /x -p 2222 ada@bastion", "J=a,b F=/x p=2222", "ada@bastion", ""},
		{"-oPort=22 -4o User=ada bastion true -x", "o=Port=22 4 o=User=ada", "bastion", "true -x"},
		{"-vvT bastion -T -- -x y", "v v T T", "bastion", "-x y"},
		{"-o -q bastion", "o=-q", "bastion", ""},
		{"-V", "V", "", ""},
		{"-- bastion - x", "", "bastion", "- x"},
		{"", "", "", ""},
		{"-p", "error", "", ""},
		{"-Z bastion", "error", "", ""},
		{"-: bastion", "error", "", ""},
	} {
		l, err := Parse(strings.Fields(c.line))
		var options []string
		for _, o := range l.Options {
			word := string(o.Letter)
			if o.Value != "" {
				word += "=" + o.Value
			}
			options = append(options, word)
		}
		if err != nil {
			options = []string{"error"}
		}
		if got := strings.Join(options, " "); got != c.options || l.Host != c.host || strings.Join(l.Command, " ") != c.command {
			t.Errorf("%s: options %q, host %q, command %q", c.line, got, l.Host, l.Command)
		}
		if again, err2 := Parse(l.Args()); err == nil && (err2 != nil || !same(again, l)) {
			t.Errorf("%s becomes %q, read as %+v, %v", c.line, l.Args(), again, err2)
		}
	}
}

func same(a, b Line) bool {
	if len(a.Command) == 0 && len(b.Command) == 0 {
		a.Command, b.Command = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func TestWithout(t *testing.T) {
	l, err := Parse(strings.Fields("-qAW h:22 -l q -E /x -S /y bastion -q echo -q"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(l.Without("qAES").Args(), " "), "-W h:22 -l q -- bastion echo -q"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !l.Has("GS") || l.Has("GO") {
		t.Error("S is an option of the line, G and O are none")
	}
}

// TestTheTableIsThatOfSSH checks that Parse and the installed ssh know the same options.
func TestTheTableIsThatOfSSH(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	for c := byte('0'); c <= 'z'; c++ {
		if c > '9' && c < 'A' || c > 'Z' && c < 'a' {
			continue
		}
		// The last option is one that ssh does not have, so that it ends by itself.
		said, _ := exec.Command(ssh, "-"+string(c)+"0", "-Z").CombinedOutput()
		valued, ok := hasValue(c)
		unknown := strings.HasPrefix(string(said), "unknown option -- "+string(c)) || strings.HasPrefix(string(said), "ssh: illegal option -- "+string(c))
		if c == 'Z' {
			unknown = true
		}
		if ok == unknown {
			t.Errorf("-%c: in the table %t (with a value: %t), and ssh says %q", c, ok, valued, said)
		}
	}
}
