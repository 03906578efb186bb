//! Conversations to prompts, through the model's own Jinja template.

use crate::error::{Error, Result};
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

/// Used where a model brings no template: the format that most fine-tuned models know.
const CHATML: &str = "{%- for message in messages -%}\
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}\
    {%- endfor -%}\
    {%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

/// Instructions that one rendering may take: templates come from model files, and a loop in one must end.
const FUEL: u64 = 50_000_000;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Instructions that hold for the whole conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a function call.
    Tool,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of this role.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compiles a model's template, or ChatML where it brings none. `bos` and `eos` are the texts of those tokens.
    ///
    /// # Errors
    /// [`Error::Template`] for a template that is no Jinja.
    pub fn new(source: Option<&str>, bos: &str, eos: &str) -> Result<Self> {
        let source = source.unwrap_or(CHATML);
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned("chat", source.to_owned()).map_err(|e| failed(&e))?;
        Ok(Self { environment, source: source.to_owned(), bos: bos.into(), eos: eos.into() })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation. With `add_generation_prompt` the text ends where the model's answer begins.
    ///
    /// # Errors
    /// [`Error::Template`] with the template's own complaint, such as roles that do not alternate.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let template = self.environment.get_template("chat").map_err(|e| failed(&e))?;
        template
            .render(context! {
                messages => messages,
                add_generation_prompt => add_generation_prompt,
                bos_token => self.bos,
                eos_token => self.eos,
                tools => None::<()>,
            })
            .map_err(|e| failed(&e))
    }

    /// Whether a rendered text already begins with the beginning-of-text token, which must then not be added again.
    pub(crate) fn begins_with_bos(&self, rendered: &str) -> bool {
        !self.bos.is_empty() && rendered.starts_with(&self.bos)
    }
}

fn failed(error: &minijinja::Error) -> Error {
    let mut what = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        what = format!("{what}: {inner}");
        source = inner.source();
    }
    Error::Template { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Vec<Message> {
        vec![Message::new(Role::System, "Be brief."), Message::new(Role::User, "Hi {{ x }}")]
    }

    #[test]
    fn chatml_is_the_default() {
        let template = ChatTemplate::new(None, "", "").unwrap();
        assert_eq!(
            template.render(&conversation(), true).unwrap(),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi {{ x }}<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn templates_as_models_bring_them() {
        // shapes seen in public templates: python methods, loop controls, namespaces, raise_exception, bos_token
        let source = "{{ bos_token }}{% set ns = namespace(system='') %}\
            {% for m in messages %}{% if m['role'] == 'system' %}{% set ns.system = m['content'].strip() %}{% continue %}\
            {% endif %}{{ '[INST] ' + ns.system + ' ' + m.content.upper() + ' [/INST]' }}{% endfor %}";
        let template = ChatTemplate::new(Some(source), "<s>", "</s>").unwrap();
        let rendered = template.render(&conversation(), true).unwrap();
        assert_eq!(rendered, "<s>[INST] Be brief. HI {{ X }} [/INST]");
        assert!(template.begins_with_bos(&rendered));
    }

    #[test]
    fn a_templates_complaint_is_an_error() {
        let template =
            ChatTemplate::new(Some("{{ raise_exception('roles must alternate') }}"), "", "").unwrap();
        let error = template.render(&conversation(), true).unwrap_err().to_string();
        assert!(error.contains("roles must alternate"), "{error}");
        assert!(matches!(ChatTemplate::new(Some("{% if %}"), "", ""), Err(Error::Template { .. })));
    }

    #[test]
    fn a_template_that_does_not_end_runs_out_of_fuel() {
        let source = "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
        let template = ChatTemplate::new(Some(source), "", "").unwrap();
        assert!(matches!(template.render(&[], true), Err(Error::Template { .. })));
    }
}
