"""A small `aws` resource provider for the sandbox: the types this stack uses, over boto3, against the local emulator.

The real engine attaches to it (`PULUMI_DEBUG_PROVIDERS=aws:PORT`) and cannot tell it from the official plugin. Real AWS never
sees it: every client carries fake credentials, one endpoint, and refuses to send anything elsewhere.

* `server` speaks the engine's protocol; `values` translates its messages; `listener` lets nobody else's calls through to it.
* `resource` is the base class of a resource type; `properties` its tables; `diff` compares them.
* `clients` makes the boto3 clients; `validation` checks every call against botocore's service model.
* `ec2`, `rds`, `s3`, ... hold one short class a resource type; `registry` lists them; `invokes` has the functions.
* `gaps` says what the emulator lacks and what is done about it here.
"""
