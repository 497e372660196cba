// Runs at the edge for every answer (CloudFront Functions, cloudfront-js-2.0): a page that stands for what is missing says so, and what an
// object keeps as `header-...` in its metadata is a header of its answer. Pages say what their policy has to allow; rules/inline_scripts.py
// explains it. POLICY is empty where the stack's policy is not ours.
var STATUS = __STATUS__;
var KEPT = __KEPT__;
var NEEDS = __NEEDS__;
var POLICY = __POLICY__;
var WORDS = __WORDS__;

function policy(words) {
    var scripts = words.map(function (word) {
        return word.length > 1 ? " 'sha256-" + word + "='" : WORDS[word] ? ' ' + WORDS[word] : '';
    });
    return POLICY[0] + scripts.join('') + POLICY[1] + (words.indexOf('b') < 0 ? '' : ' blob:') + POLICY[2];
}

function handler(event) {
    var response = event.response;
    var headers = response.headers;
    var status = headers[STATUS];
    if (status) {
        delete headers[STATUS];
        if (response.statusCode === 200) {
            response.statusCode = parseInt(status.value, 10);
            response.statusDescription = 'Not Found';
        }
    }
    var needs = headers[NEEDS];
    if (needs) {
        delete headers[NEEDS];
        if (POLICY.length) {
            headers['content-security-policy'] = { value: policy(needs.value.split(' ')) };
        }
    }
    Object.keys(headers).forEach(function (name) {
        if (name.indexOf(KEPT) === 0) {
            headers[name.substring(KEPT.length)] = { value: headers[name].value };
            delete headers[name];
        }
    });
    return response;
}
