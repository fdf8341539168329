//! Rules for where code is kept, built and published: hosts, CI, package registries, scanners.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Check, Rule, after, around, token};

const GITHUB: &[&str] = &["github", "code"];
const GITLAB: &[&str] = &["gitlab", "code"];
const HOST: &[&str] = &["code"];
const CI: &[&str] = &["ci"];
const PACKAGES: &[&str] = &["packages"];
const SCANNER: &[&str] = &["scanner"];

pub(super) const RULES: &[Rule] = &[
    token("github-personal-token", Critical, GITHUB, &["ghp_"], r"[A-Za-z0-9]{30,255}").check(Check::Checksum),
    token("github-fine-grained-token", Critical, GITHUB, &["github_pat_"], r"[A-Za-z0-9_]{40,255}"),
    token("github-oauth-token", Critical, GITHUB, &["gho_"], r"[A-Za-z0-9]{30,255}").check(Check::Checksum),
    token("github-user-token", High, GITHUB, &["ghu_"], r"[A-Za-z0-9]{30,255}").check(Check::Checksum),
    // Since 2025 an installation's token may be a web token behind the prefix.
    token("github-server-token", High, GITHUB, &["ghs_"], r"[A-Za-z0-9_.-]{30,}").random(),
    token("github-refresh-token", High, GITHUB, &["ghr_"], r"[A-Za-z0-9]{30,255}").check(Check::Checksum),
    token("gitlab-personal-token", Critical, GITLAB, &["glpat-"], r"[\w.-]{18,300}").random(),
    token("gitlab-deploy-token", High, GITLAB, &["gldt-"], r"[\w.-]{18,300}").random(),
    token("gitlab-runner-token", High, GITLAB, &["glrt-", "glrtr-", "GR1348941"], r"[\w.-]{18,300}").random(),
    token("gitlab-job-token", High, GITLAB, &["glcbt-"], r"[\w.-]{18,300}").random(),
    token("gitlab-trigger-token", High, GITLAB, &["glptt-"], r"[\w.-]{18,300}").random(),
    token("gitlab-feed-token", Medium, GITLAB, &["glft-", "glimt-"], r"[\w.-]{18,300}").random(),
    token("gitlab-mail-token", Medium, GITLAB, &["-glimt-", "+glimt-"], r"[a-z0-9]{20,30}"),
    token("gitlab-agent-token", High, GITLAB, &["glagent-"], r"[\w.-]{18,300}").random(),
    token("gitlab-oauth-secret", Critical, GITLAB, &["gloas-"], r"[\w.-]{18,300}").random(),
    token("gitlab-scim-token", High, GITLAB, &["glsoat-", "glffct-"], r"[\w.-]{18,300}").random(),
    after("gitlab-session-cookie", High, GITLAB, &["_gitlab_session="], r"([A-Za-z0-9]{16,64})"),
    token("bitbucket-app-password", Critical, HOST, &["ATBB"], r"[A-Za-z0-9]{24,40}").random(),
    token("bitbucket-http-token", High, HOST, &["BBDC-"], r"[A-Za-z0-9+/@=_-]{36,60}").random(),
    token("sourcegraph-token", High, HOST, &["sgp_", "sgd_", "slk_"], r"(?:[a-f0-9]{16}_|local_)?[a-f0-9]{40,64}"),
    token("circleci-token", High, CI, &["CCIPAT_", "CCIPRJ_"], r"[A-Za-z0-9]{16,30}_[a-fA-F0-9]{32,48}"),
    token("buildkite-token", High, CI, &["bkua_", "bkct_", "bkaj_", "bkat_", "bkq_"], r"[A-Za-z0-9]{30,}").random(),
    token("harness-token", High, CI, &["pat.", "sat."], r"[\w-]{20,24}\.[a-fA-F0-9]{24}\.[A-Za-z0-9]{20}"),
    token("octopus-deploy-key", High, CI, &["API-"], r"[A-Z0-9]{25,32}").random(),
    token("prefect-token", High, CI, &["pnu_", "pnb_"], r"[A-Za-z0-9]{32,40}").random(),
    token("pulumi-token", High, CI, &["pul-"], r"[a-f0-9]{40}"),
    around("terraform-cloud-token", Critical, CI, &[".atlasv1."], (14, 14), r"[\w=-]{50,80}"),
    token("npm-token", Critical, PACKAGES, &["npm_"], r"[A-Za-z0-9]{30,64}").check(Check::Checksum),
    token("pypi-token", Critical, PACKAGES, &["pypi-"], r"Ag[A-Za-z0-9_-]{30,}"),
    token("rubygems-key", Critical, PACKAGES, &["rubygems_"], r"[a-f0-9]{40,56}"),
    token("crates-io-token", Critical, PACKAGES, &["cio"], r"[A-Za-z0-9]{32}").random(),
    token("nuget-key", Critical, PACKAGES, &["oy2"], r"[a-z0-9]{43}").random(),
    token("docker-hub-token", Critical, PACKAGES, &["dckr_pat_", "dckr_oat_"], r"[\w-]{24,}"),
    token("clojars-token", High, PACKAGES, &["CLOJARS_"], r"[a-f0-9]{50,64}"),
    token("jfrog-api-key", Critical, PACKAGES, &["AKCp"], r"[A-Za-z0-9]{60,80}").random(),
    token("jfrog-reference-token", Critical, PACKAGES, &["cmVmdGtuOj"], r"[A-Za-z0-9_-]{48,64}"),
    token("packagist-token", High, PACKAGES, &["packagist_"], r"[a-z]{3}_[a-f0-9]{60,}"),
    token("jsr-token", High, PACKAGES, &["jsrd_", "jsrp_"], r"[A-Za-z0-9]{30,}").random(),
    token("open-vsx-token", High, PACKAGES, &["ovsxat_"], r"[a-f0-9-]{36}"),
    token("sonarqube-token", High, SCANNER, &["sqp_", "squ_", "sqa_"], r"[a-f0-9]{40}"),
    token("snyk-token", High, SCANNER, &["snyk_uat.", "snyk_sat."], r"[\w.-]{30,}"),
    token("semgrep-token", High, SCANNER, &["sgap_"], r"[a-f0-9]{32,64}"),
    token("postman-key", High, SCANNER, &["PMAK-"], r"[a-f0-9]{24}-[a-f0-9]{34}"),
    token("codecov-graph-token", Medium, SCANNER, &["codecov.io/"], r"\S{1,100}\?token=([A-Za-z0-9]{10})"),
];
