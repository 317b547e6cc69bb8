package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

// held returns the stretches of minutes in which a rule with these fields holds, as text, in so
// many days from first on.
func held(t *testing.T, location *time.Location, first time.Time, days int, fields string) []string {
	t.Helper()
	p, err := Parse([]byte("rules:\n  - deny: login\n    " + strings.ReplaceAll(fields, "; ", "\n    ") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	const form = "Mon 02 15:04"
	var stretches []string
	begin := ""
	end := first.AddDate(0, 0, days)
	for now := first; !now.After(end); now = now.Add(time.Minute) {
		switch holds := now.Before(end) && p.rules[0].holdsAt(now.In(location)); {
		case holds && begin == "":
			begin = now.In(location).Format(form)
		case !holds && begin != "":
			stretches = append(stretches, begin+" - "+now.In(location).Format(form))
			begin = ""
		}
	}
	return stretches
}

// TestHoursBeginOnTheirDays checks rules with days and hours at every minute of two weeks.
func TestHoursBeginOnTheirDays(t *testing.T) {
	const hour = time.Hour
	week := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	first := monday.Truncate(24 * hour)
	type window struct {
		hours      string
		start, end time.Duration // since midnight of the day on which it begins
	}
	windows := []window{
		{"", 0, 24 * hour},
		{"08:00-18:30", 8 * hour, 18*hour + 30*time.Minute},
		{"22:00-06:00", 22 * hour, 30 * hour},
		{"00:00-00:01", 0, time.Minute},
		{"23:59-00:01", 24*hour - time.Minute, 24*hour + time.Minute},
		{"18:00-00:00", 18 * hour, 24 * hour},
		{"00:01-00:00", time.Minute, 24 * hour},
		{"12:00-11:59", 12 * hour, 36*hour - time.Minute},
	}
	choices := map[string][]int{
		"mon-fri": {0, 1, 2, 3, 4}, "sat-sun": {5, 6}, "fri-mon": {4, 5, 6, 0}, "[tue, thu]": {1, 3}, "": {0, 1, 2, 3, 4, 5, 6},
	}
	for i, day := range week {
		choices[day] = []int{i}
	}
	for days, numbers := range choices {
		for _, w := range windows {
			var fields []string
			if days != "" {
				fields = append(fields, "days: "+days)
			}
			if w.hours != "" {
				fields = append(fields, "hours: "+w.hours)
			}
			if len(fields) == 0 {
				continue
			}
			rule := strings.Join(fields, "; ")
			inside := make([]bool, 14*24*60) // by the minute
			for d := -1; d < 14; d++ {       // -1: what began on the Sunday before
				if !slices.Contains(numbers, (d+7)%7) {
					continue
				}
				for at := time.Duration(d)*24*hour + w.start; at < time.Duration(d)*24*hour+w.end; at += time.Minute {
					if m := int(at / time.Minute); m >= 0 && m < len(inside) {
						inside[m] = true
					}
				}
			}
			var want []string
			for m := 0; m < len(inside); m++ {
				if begin := m; inside[m] {
					for m < len(inside) && inside[m] {
						m++
					}
					at := func(m int) string { return first.Add(time.Duration(m) * time.Minute).Format("Mon 02 15:04") }
					want = append(want, at(begin)+" - "+at(m))
				}
			}
			if got := held(t, time.UTC, first, 14, rule); !slices.Equal(got, want) {
				t.Errorf("%s holds\n%q, want\n%q", rule, got, want)
			}
		}
	}
}

// TestHoursWhereTheClockChanges checks that hours are those of the local clock: the night in which
// it is put forward is shorter, and an hour that it shows twice counts twice.
func TestHoursWhereTheClockChanges(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	spring := time.Date(2026, 3, 28, 12, 0, 0, 0, berlin)  // 02:00 becomes 03:00 on the 29th
	autumn := time.Date(2026, 10, 24, 12, 0, 0, 0, berlin) // 03:00 becomes 02:00 on the 25th
	for _, c := range []struct {
		first  time.Time
		fields string
		want   []string
	}{
		{spring, "days: sat; hours: 22:00-06:00", []string{"Sat 28 22:00 - Sun 29 06:00"}},
		{spring, "days: sun; hours: 22:00-06:00", []string{"Sun 29 22:00 - Mon 30 06:00"}},
		{spring, "days: sat; hours: 23:00-02:30", []string{"Sat 28 23:00 - Sun 29 03:00"}},
		{spring, "days: sun; hours: 02:10-02:50", nil},
		{spring, "days: sun; hours: 02:30-04:00", []string{"Sun 29 03:00 - Sun 29 04:00"}},
		{autumn, "days: sat; hours: 22:00-06:00", []string{"Sat 24 22:00 - Sun 25 06:00"}},
		{autumn, "days: sat; hours: 23:00-02:30", []string{"Sat 24 23:00 - Sun 25 02:30", "Sun 25 02:00 - Sun 25 02:30"}},
		{autumn, "days: sun; hours: 02:10-02:50", []string{"Sun 25 02:10 - Sun 25 02:50", "Sun 25 02:10 - Sun 25 02:50"}},
		{autumn, "days: sun", []string{"Sun 25 00:00 - Mon 26 00:00"}},
	} {
		if got := held(t, berlin, c.first, 2, c.fields); !slices.Equal(got, c.want) {
			t.Errorf("from %s, %s holds %q, want %q", c.first.Format(time.DateOnly), c.fields, got, c.want)
		}
	}
}

// Example_hours is the rule of the help: nights that begin on a working day.
func Example_hours() {
	p, err := Parse([]byte("rules: [{deny: login, days: mon-fri, hours: 22:00-06:00}]"))
	if err != nil {
		panic(err)
	}
	for _, night := range []time.Time{
		time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC), // Monday
		time.Date(2026, 11, 28, 2, 0, 0, 0, time.UTC), // Saturday
	} {
		fmt.Println(night.Format("Mon 15:04"), p.Decide(Facts{Op: Sign, Purpose: Login, Constraint: Unconstrained, When: night}, nil).Verdict)
	}
	// Output:
	// Mon 02:00 allow
	// Sat 02:00 deny
}
