//go:build linux

package mux

// descriptors lists combinations of the three descriptors that a shell can give to ssh, and
// commands of which a shell's quoting would lose a part.
var descriptors = []comparison{
	{name: "input without an end", command: "SSH train 'head -c 5 | wc -c' </dev/zero"},
	{name: "input that is a directory", command: "SSH train 'wc -c' </tmp"},
	{name: "input that can only be written to", command: "SSH train 'wc -c' 0>/tmp/w"},
	{name: "input from a pipe that nobody closes", command: "mkfifo -m 600 /tmp/f$$; SSH train 'echo done' <>/tmp/f$$; rm /tmp/f$$"},
	{name: "input that comes later", command: "(sleep 0.3; echo late) | SSH train cat"},
	{name: "input in pieces", command: "(echo one; sleep 0.2; echo two; sleep 0.2; printf three) | SSH train 'cat; echo end'"},
	{name: "the rest of a file", command: "printf 'first\\nsecond\\nthird\\n' >/tmp/l; { read l; echo \"here $l\"; SSH train cat; } </tmp/l"},
	{name: "output behind a file's end", command: "echo before >/tmp/o; SSH train 'echo out' >>/tmp/o; cat /tmp/o"},
	{name: "both outputs in one file", command: "SSH train 'echo out; echo err >&2' >/tmp/o 2>&1; sort /tmp/o"},
	{name: "a full disk", command: "SSH train 'echo out; echo err >&2; exit 4' >/dev/full"},
	{name: "a full disk for the errors", command: "SSH train 'echo out; echo err >&2; exit 4' 2>/dev/full"},
	{name: "outputs that nobody reads", command: "SSH train 'echo out; echo err >&2; exit 4' 2>&1 | true; echo ${PIPESTATUS[0]}"},
	{name: "a reader that waits", command: "SSH train 'head -c 20000000 /dev/zero; echo done >&2' | (sleep 1; md5sum)"},
	{name: "all descriptors closed", command: "SSH train 'cat; exit 6' <&- >&- 2>&-; echo $?"},
	{name: "other descriptors", command: "exec 7>/tmp/seven; SSH train 'echo out'; echo still >&7; cat /tmp/seven"},
	{name: "every byte", command: `python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 999)' | SSH train cat | md5sum`},
	{name: "a command in several lines", command: "SSH train 'echo one\necho \"two  three\"\nexit 2'"},
	{name: "a command of many words", command: `SSH train echo 'a  b' '$HOME' "it's" '*' é`},
	{name: "a long command", command: `SSH train "echo $(head -c 100000 /dev/zero | tr '\0' a) | wc -c"`},
	{name: "the greatest exit status", command: "SSH train 'exit 255'"},
	{name: "an exit status that is too large", command: "SSH train 'exit 256'"},
	{name: "the environment", command: "SSH train 'env | cut -d= -f1 | sort'"},
	{name: "a terminal's environment", command: "SSH -tt train 'env | cut -d= -f1 | sort' 2>/dev/null"},
	{name: "a terminal that is not to be", command: "SSH -T train 'tty; stty size 2>&1 | head -c 5'"},
	{name: "a terminal with input from a pipe", command: `printf 'exit 3\n' | SSH -tt train 'stty -echo; echo up; read l; $l' >/dev/null 2>&1; echo ${PIPESTATUS[1]}`},
}

// padding makes a script as long as editors' are.
const padding = `for i in $(seq 1500); do echo "# padding padding padding padding padding padding padding padding padding padding padding"; done; `

// editorScript is a script that an editor sends: it says that it runs, and how it ends,
// starts a server that stays, and shows where it is.
const editorScript = `{ ` + padding + `echo 'echo "id: running"; mkdir -p /tmp/editor; cd /tmp/editor; setsid sh -c "echo server \$\$ >log; exec sleep 2" >/dev/null 2>&1 </dev/null &
	until test -s log; do sleep 0.05; done; env | cut -d= -f1 | grep -v ^_ | sort | tr "\n" " "; echo; pwd; echo "id: end"'; ` + padding + `}`

// window opens an editor's window: an ssh with those options that a script is written to
// whose input stays open. Its dynamic forward is used meanwhile.
func window(options, shell string) string {
	return `d=$(mktemp -d); mkfifo $d/in; SSH ` + options + ` -D 17011 -o ConnectTimeout=15 train ` + shell + ` <$d/in >$d/out 2>$d/err & exec 5>$d/in
		` + editorScript + ` >&5; while kill -0 $! && ! grep -q 'id: end' $d/out; do sleep 0.05; done
		` + socksTo("127.0.0.1", 17011, "GPU") + `exec 5>&-; wait $!; echo "code $?"; cat $d/out; grep -c 'Authenticated to' $d/err; rm -r $d
		SSH train 'cut -d" " -f1 /tmp/editor/log; rm -r /tmp/editor'`
}

// recipes lists the calls of ssh by editors, from their logs and documentation.
var recipes = []comparison{
	{name: "VS Code's window", command: window("-T", "bash")},
	{name: "VS Code's window by its local server", command: window("-v -T", "bash"), byItself: true},
	{name: "Cursor's window", command: window("-v -T", "bash --login -c bash"), byItself: true},
	{name: "Windsurf's window", command: window("-T", "bash -s")},
	{name: "VS Code's script alone", command: editorScript + " | SSH -T -o ClearAllForwardings=true train sh; SSH train 'cut -d\" \" -f1 /tmp/editor/log; rm -r /tmp/editor'"},
	{name: "VS Code's server", command: "tar -C /etc -czf /tmp/server.tgz passwd; scp -q -S /tmp/ssh -o ConnectTimeout=15 /tmp/server.tgz train:server.tgz; SSH -T -o ConnectTimeout=15 train 'tar -xzOf server.tgz passwd | md5sum; rm server.tgz'"},
	{name: "VS Code's terminal", command: `script -qec "SSH -t train 'cd /tmp && exec bash --norc -c \"pwd; stty size\"' 2>/dev/null" /dev/null | grep -ao '/tmp\|[0-9]\+ [0-9]\+'`},
	{name: "JetBrains' questions", command: `for q in 'uname -sm' 'echo $HOME; echo $SHELL' 'df -k ~ | wc -l'; do SSH -o BatchMode=yes train /bin/sh -c "'$q'"; done`},
	{name: "JetBrains' backend", command: `echo backend >/tmp/backend; printf 'put /tmp/backend /tmp/backend\nchmod 755 /tmp/backend\nls -l /tmp/backend\n' | sftp -q -b - -S /tmp/ssh train | sed 's/ [A-Z][a-z][a-z] .*//'; SSH train 'cat /tmp/backend; rm /tmp/backend'`},
	{name: "JetBrains' tunnel", command: behind("-o ExitOnForwardFailure=yes -L 127.0.0.1:17012:GPU", "head -c 7 </dev/tcp/127.0.0.1/17012; echo")},
	{name: "Zed's own connection", command: `s=/tmp/zed$$; ssh -N -o ControlPersist=no -o ControlMaster=yes -o ControlPath=$s train & until ssh -o ControlPath=$s -O check train 2>/dev/null; do sleep 0.1; done
		z="-o ControlMaster=no -o ControlPath=$s"; ssh $z train uname -sm; echo server >/tmp/zed; scp -q -C $z /tmp/zed train:/tmp/zed; ssh $z train 'cat /tmp/zed; rm /tmp/zed'
		printf 'over stdio' | ssh $z -T train 'exec cat'; ssh $z -t train 'cd; exec env true' 2>/dev/null; ssh -o ControlPath=$s -O exit train 2>/dev/null; wait`, aside: true},
	{name: "Emacs' shell", command: `printf 'stty -echo\necho "up $((6*7))"\nexit 5\n' | SSH -q -e none -t -t train env PS1= TERM=dumb sh 2>/dev/null | grep -o 'up 42'; echo ${PIPESTATUS[1]}`},
}
