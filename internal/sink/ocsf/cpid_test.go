package ocsf

import "testing"

func TestCommonProcessID(t *testing.T) {
	// The example of the specification.
	got := CommonProcessID("2899dae4-4fa4-4eef-95b6-6bc95325f61a", 4026532263, 55558, 29)
	if want := "b770a0ed-8463-822c-b5f6-30d9081ddbd9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, boot := range []string{"", "boot", "2899dae4-4fa4-4eef-95b6-6bc95325f6"} {
		if got := CommonProcessID(boot, 1, 1, 1); got != "" {
			t.Errorf("%q makes %q", boot, got)
		}
	}
}
