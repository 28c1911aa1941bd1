module github.com/connhygiene/connhygiene/examples/replicas

go 1.25.0

replace (
	github.com/connhygiene/connhygiene => ../..
	github.com/connhygiene/connhygiene/contrib/redistier => ../../contrib/redistier
)

require (
	github.com/connhygiene/connhygiene v0.2.0
	github.com/connhygiene/connhygiene/contrib/redistier v0.2.0
	github.com/redis/rueidis v1.0.79
	github.com/stretchr/testify v1.10.0
	go.uber.org/goleak v1.3.0
	gopkg.in/yaml.v3 v3.0.1
)

require (
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/time v0.12.0 // indirect
)
