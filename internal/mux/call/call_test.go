package call

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args    string // words separated by |
		refused bool
		user    string
		control bool
		idle    bool
	}{
		{args: "ssh|train"},
		{args: "ssh|train|true"},
		{args: "/usr/bin/ssh|-q|-tt|train|-x|ls|-N|-f|-v"},
		{args: "ssh|train|-t|top"},
		{args: "ssh|train|--|-N"},
		{args: "ssh|--|train|-N"},
		{args: "ssh|me@train", user: "me"},
		{args: "ssh|-l|me|train", user: "me"},
		{args: "ssh|-lme|train", user: "me"},
		{args: "ssh|-O|check|train", control: true},
		{args: "ssh|-Ocheck|train", control: true},
		{args: "ssh|-x|-oPermitLocalCommand=no|-oClearAllForwardings=yes|-oRemoteCommand=none|-oRequestTTY=no|-oForwardAgent=no|-l|me|-s|--|train|sftp", user: "me"},
		{args: "ssh|-oForwardX11 no|-oPermitLocalCommand no|-oClearAllForwardings yes|-oForwardAgent no|-oControlMaster no|-s|--|train|sftp"},
		{args: "ssh|-o|SendEnv=GIT_PROTOCOL|train|git-upload-pack 'x'"},
		{args: "ssh|-o|BatchMode=yes|-o|connecttimeout 5|train|true"},
		{args: "ssh|-o|IgnoreUnknown=*|-o|SessionType=default|train|true"},

		{args: "ssh|-o|ClearAllForwardings=true|-o|ForwardAgent=True|-o|LogLevel=error|train"},
		{args: "ssh|-o|LogLevel=INFO|-v|train", refused: true},
		{args: "ssh|-vT|-D|1080|train", refused: true},
		{args: "ssh|-v|-O|check|train", control: true},
		{args: "ssh|-Tvv|train", refused: true},
		{args: "ssh|-o|LogLevel=VERBOSE|train", refused: true},
		{args: "ssh|-oLogLevel DEBUG3|train", refused: true},
		{args: "ssh|-o|PermitLocalCommand=true|train", refused: true},

		{args: "ssh|-N|train", idle: true},
		{args: "ssh|-qN|train", idle: true},
		{args: "ssh|train|-N", idle: true},
		{args: "ssh|-NL|1:a:1|train", idle: true},
		{args: "ssh|-o|SessionType=none|train", idle: true},
		{args: "ssh|-oSessionType none|train", idle: true},
		{args: "ssh|-N|-o|SessionType=default|train", idle: true},
		{args: "ssh|-o|SessionType=default|-o|SessionType=none|train"},
		{args: "ssh|-o|SessionType=subsystem|train|sftp", refused: true},
		{args: "ssh|-o|SessionType=new|train", refused: true},
		{args: "ssh|-f|train|sleep 1", refused: true},
		{args: "ssh|-tf|train|sleep 1", refused: true},
		{args: "ssh|-A|train"},
		{args: "ssh|-fN|-L|1:a:1|train", refused: true},
		{args: "ssh|-g|-L|1:a:1|train", refused: true},
		{args: "ssh|-o|GatewayPorts=yes|train", refused: true},
		{args: "ssh|-o|StreamLocalBindUnlink=yes|train", refused: true},
		{args: "ssh|-o|ForwardAgent=/run/other|train", refused: true},
		{args: "ssh|-o|ForwardAgent=$OTHER|train", refused: true},
		{args: "ssh|-X|train", refused: true},
		{args: "ssh|-Y|train", refused: true},
		{args: "ssh|-o|ForwardX11=yes|train", refused: true},
		{args: "ssh|-oForwardX11 yes|train", refused: true},
		{args: "ssh|-L|1:a:1|train"},
		{args: "ssh|-L1:a:1|train"},
		{args: "ssh|-R|1:a:1|train"},
		{args: "ssh|-D|1080|train"},
		{args: "ssh|-W|a:1|train"},
		{args: "ssh|-J|other|train", refused: true},
		{args: "ssh|-i|key|train", refused: true},
		{args: "ssh|-F|file|train", refused: true},
		{args: "ssh|-p|2222|train", refused: true},
		{args: "ssh|-M|train", refused: true},
		{args: "ssh|-S|none|train", refused: true},
		{args: "ssh|-o|ForkAfterAuthentication=yes|train", refused: true},
		{args: "ssh|-o|PermitLocalCommand=yes|-o|LocalCommand=x|train", refused: true},
		{args: "ssh|-o|SetEnv=A=B|train"},
		{args: "ssh|-o|User=other|train", refused: true},
		{args: "ssh|-o|ForwardAgent=yes|train"},
		{args: "ssh|-o|LocalForward=1 a:1|train"},
		{args: "ssh|-o|AnythingNew=1|train", refused: true},
		{args: "ssh|-o", refused: true},
		{args: "ssh|-e", refused: true},
		{args: "ssh|ssh://train", refused: true},
		{args: "ssh", refused: true},
		{args: "", refused: true},
		{args: "python3|client.py", refused: true},
	} {
		in, err := Parse(strings.Split(c.args, "|"))
		if (err != nil) != c.refused {
			t.Errorf("%s: %v", c.args, err)
		} else if err == nil && (in.User != c.user || in.Control != c.control || in.Idle != c.idle) {
			t.Errorf("%s: %+v", c.args, in)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ssh\x00-o\x00SendEnv=X\x00-l\x00me\x00train\x00true")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		if _, err := Parse(args); err == nil && len(args) < 2 {
			t.Errorf("%q names no host", args)
		}
	})
}
