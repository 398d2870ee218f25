package shield_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What can be read off the files of the image is held here; that it does what it says is shown
// by deploy/verify/image.sh.

// secretName is a variable whose value nobody should see.
var secretName = regexp.MustCompile(`PASSWORD|SECRET|TOKEN|_KEY`)

func contentOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The classic builder knows neither mounts of RUN nor documents in a Dockerfile, and the image
// has what one stage of a toolchain put together.
func TestDockerfileIsForEveryBuilder(t *testing.T) {
	for _, file := range []string{"Dockerfile", "examples/quickstart/upstream/Dockerfile"} {
		text := contentOf(t, file)
		stages := regexp.MustCompile(`(?m)^FROM .*$`).FindAllString(text, -1)
		if want := []string{"FROM ${BUILDER} AS build", "FROM scratch"}; !slices.Equal(stages, want) {
			t.Errorf("%s: stages are %q, want %q", file, stages, want)
		}
		for _, not := range []string{"--mount", "<<", "ADD ", "http://", "curl", "apt"} {
			if strings.Contains(strings.ReplaceAll(text, "https://github.com/materi/shield", ""), not) {
				t.Errorf("%s holds %q", file, not)
			}
		}
		_, final, _ := strings.Cut(text, "FROM scratch")
		for line := range strings.Lines(final) {
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if word == "RUN" || word == "COPY" && !strings.HasPrefix(rest, "--from=build ") {
				t.Errorf("%s: the last stage has %q", file, line)
			}
			if word == "CMD" || word == "ENTRYPOINT" {
				if !strings.HasPrefix(rest, "[") {
					t.Errorf("%s: %q needs a shell", file, line)
				}
			}
		}
		if !strings.Contains(final, "\nUSER 1000:1000\n") {
			t.Errorf("%s: the last stage does not run as 1000", file)
		}
		for _, arg := range regexp.MustCompile(`(?m)^ARG (\w+)=(.*)$`).FindAllStringSubmatch(text, -1) {
			if secretName.MatchString(arg[1]) || strings.Contains(arg[2], "://") {
				t.Errorf("%s: %q has a default that it should not have", file, arg[0])
			}
		}
	}
}

// What is not named is not sent to the builder, so that a secret that lies about is not either.
func TestContextOfTheImageIsAListOfWhatGoesIn(t *testing.T) {
	var in []string
	lines := strings.Split(contentOf(t, ".dockerignore"), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" || strings.HasPrefix(line, "#") })
	if lines[0] != "*" {
		t.Fatalf("the first pattern is %q, want *", lines[0])
	}
	for _, line := range lines {
		name, ok := strings.CutPrefix(line, "!")
		if !ok {
			continue
		}
		in = append(in, name)
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"go.mod", "go.sum", "LICENSE", "NOTICE", "cmd", "config", "gateway", "plugins", "sdk"}; !slices.Equal(in, want) {
		t.Errorf("what goes in is %q, want %q", in, want)
	}
}
