package runargs

import (
	"slices"
	"testing"
)

// TestOptions checks that each option is found with its value, in all forms of docker's, and none is
// taken for the value of one before it.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  []Option
	}{
		{[]string{"--gpus", "all", "--gpus=2", "-m", "1g", "-m=1g", "-m1g"}, []Option{{"--gpus", "all", 0}, {"--gpus", "2", 2}, {"-m", "1g", 3}, {"-m", "1g", 5}, {"-m", "1g", 6}}},
		{[]string{"-it", "--rm", "--init", "-e", "A=b", "-eA=b", "--env="}, []Option{{"-i", "", 0}, {"-t", "", 0}, {"--rm", "", 1}, {"--init", "", 2}, {"-e", "A=b", 3}, {"-e", "A=b", 5}, {"--env", "", 6}}},
		{[]string{"--pids-limit", "-1", "a", "--user"}, []Option{{"--pids-limit", "-1", 0}, {"a", "", 2}, {"--user", "", 3}}},
		{[]string{"--invented", "--gpus", "all", "--quietly", "--privileged"}, []Option{{"--invented", "", 0}, {"--gpus", "all", 1}, {"--quietly", "", 3}, {"--privileged", "", 4}}},
		{[]string{"-iu1000", "-itv/a:/b", "-tie", "A=b", "-qw=/w"}, []Option{{"-i", "", 0}, {"-u", "1000", 0}, {"-i", "", 1}, {"-t", "", 1}, {"-v", "/a:/b", 1}, {"-t", "", 2}, {"-i", "", 2}, {"-e", "A=b", 2}, {"-q", "", 4}, {"-w", "/w", 4}}},
		{[]string{"-t=false", "-it=false", "-P", "-uti"}, []Option{{"-t", "false", 0}, {"-i", "", 1}, {"-t", "false", 1}, {"-P", "", 2}, {"-u", "ti", 3}}},
		{[]string{"-", "", "-u", "-1", "-x1"}, []Option{{"-", "", 0}, {"", "", 1}, {"-u", "-1", 2}, {"-x", "1", 4}}},
	} {
		if got := Options(c.words); !slices.Equal(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.words, got, c.want)
		}
	}
}
